{{/* What does not make sense together: one line each, in the words "where: expected, got, what to
do". Nothing if all is well. */}}

{{- define "laneway.problems" -}}
{{- include "laneway.problems.names" . }}
{{- include "laneway.problems.secrets" . }}
{{- include "laneway.problems.broker" . }}
{{- include "laneway.problems.budget" . }}
{{- range $queue, $worker := include "laneway.workers" . | fromJson }}
{{- $one := dict "root" $ "worker" $worker "queue" $queue "at" (printf "workers.%s" $queue) }}
{{- include "laneway.problems.worker" $one }}
{{- include "laneway.problems.scaling" $one }}
{{- include "laneway.problems.pod" $one }}
{{- end }}
{{- include "laneway.problems.environment" (dict "at" "control" "part" .Values.control "more" (list "LANEWAY_HOME")) }}
{{- include "laneway.problems.environment" (dict "at" "topology" "part" .Values.topology) }}
{{- end }}

{{- define "laneway.problems.names" -}}
{{- $fullname := include "laneway.fullname" . }}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $fullname) }}
fullnameOverride: expected names of objects to begin with small letters, digits and "-" (a letter first), got: {{ $fullname }}. Set it.
{{- end }}
{{- $workers := include "laneway.workers" . | fromJson }}
{{- if not $workers }}
workers: expected at least one that is enabled, got: none. Enable one, or uninstall the release.
{{- end }}
{{- $names := dict "control" (include "laneway.partName" (dict "root" $ "part" "control")) "topology" (include "laneway.partName" (dict "root" $ "part" "topology")) }}
{{- range $queue, $worker := $workers }}
{{- $name := include "laneway.workerName" (dict "root" $ "queue" $queue) }}
{{- range $other, $taken := $names }}
{{- if eq $taken $name }}
workers.{{ $queue }}: expected a name of its own for its objects, got: {{ $name }}, which is that of {{ $other }} too. Rename the queue, or set a shorter fullnameOverride.
{{- end }}
{{- end }}
{{- $_ := set $names $queue $name }}
{{- end }}
{{- $accounts := dict }}
{{- range $queue, $worker := $workers }}
{{- $account := include "laneway.serviceAccountName" (dict "account" $worker.serviceAccount "name" (include "laneway.workerName" (dict "root" $ "queue" $queue))) }}
{{- with get $accounts $account }}
{{- if or $worker.serviceAccount.create .create (ne $worker.vhost .vhost) }}
workers.{{ $queue }}.serviceAccount: expected an account of its own, got: {{ $account }}, which workers.{{ .queue }} has too. Give it another name{{ if ne $worker.vhost .vhost }}: what a secure queue may do nobody else may{{ end }}.
{{- end }}
{{- end }}
{{- $_ := set $accounts $account (dict "queue" $queue "vhost" $worker.vhost "create" $worker.serviceAccount.create) }}
{{- end }}
{{- range $key, $_ := .Values.commonLabels }}
{{- if or (hasPrefix "app.kubernetes.io/" $key) (eq $key "laneway.dev/queue") (eq $key "helm.sh/chart") }}
commonLabels: expected labels that the chart does not set itself, got: {{ $key }}. Remove it.
{{- end }}
{{- end }}
{{- if and .Values.policy.revision (not .Values.policy.existingConfigMap) }}
policy.revision: expected nothing where no policy.existingConfigMap is set, got: {{ .Values.policy.revision }}. It would have no effect; remove it.
{{- end }}
{{- end }}

{{/* Which credentials are needed, and that each comes from exactly one place. */}}
{{- define "laneway.problems.secrets" -}}
{{- $needed := dict }}
{{- $vhosts := dict }}
{{- $asked := dict }}
{{- range $queue, $worker := include "laneway.workers" . | fromJson }}
{{- $_ := set $needed (printf "broker.%s" $worker.vhost) (index $.Values.broker $worker.vhost).existingSecret }}
{{- $_ := set $vhosts $worker.vhost true }}
{{- if and (eq $worker.autoscaling.type "keda") $.Values.keda.rabbitmqFallback }}
{{- $_ := set $needed (printf "keda.%s" $worker.vhost) (index $.Values.keda $worker.vhost).existingSecret }}
{{- end }}
{{- if and (eq $worker.vhost "secure") $.Values.results.enabled }}
{{- $_ := set $needed "results.secure" $.Values.results.secure.existingSecret }}
{{- end }}
{{- end }}
{{- if .Values.control.enabled }}
{{- $_ := set $needed "broker.control" .Values.broker.control.existingSecret }}
{{- end }}
{{- if .Values.topology.enabled }}
{{- $_ := set $needed "broker.topology" .Values.broker.topology.existingSecret }}
{{- end }}
{{- if .Values.results.enabled }}
{{- $_ := set $needed "results" .Values.results.existingSecret }}
{{- end }}
{{- $development := .Values.development.createSecrets }}
{{- $rabbitmq := .Values.rabbitmq.cluster.enabled }}
{{- range $at, $secret := $needed }}
{{- $made := or $development (and $rabbitmq (not (hasPrefix "results" $at))) }}
{{- $by := ternary "development.createSecrets" "rabbitmq.cluster.enabled" $development }}
{{- if and $made $secret }}
{{ $at }}.existingSecret: expected it to be empty, because {{ $by }} makes that Secret, got: {{ $secret }}. Empty the one or switch off the other.
{{- else if not (or $made $secret) }}
{{ $at }}.existingSecret: expected the name of a Secret, got: nothing. Make the Secret and name it here (for trying out: development.createSecrets).
{{- end }}
{{- end }}
{{- if not (or $development $rabbitmq) }}
{{- range $kind := list "broker" "keda" }}
{{- $of := index $.Values $kind }}
{{- if and (hasKey $needed (printf "%s.jobs" $kind)) (hasKey $needed (printf "%s.secure" $kind)) $of.secure.existingSecret (eq $of.jobs.existingSecret $of.secure.existingSecret) }}
{{ $kind }}.secure.existingSecret: expected a Secret of its own, got: {{ $of.secure.existingSecret }}, which {{ $kind }}.jobs has too. Nobody else may enter the virtual host of secure queues.
{{- end }}
{{- end }}
{{- end }}
{{- if and (not $development) (hasKey $needed "results.secure") .Values.results.secure.existingSecret (eq .Values.results.existingSecret .Values.results.secure.existingSecret) }}
results.secure.existingSecret: expected a Secret of its own, got: {{ .Values.results.secure.existingSecret }}, which all others have too. Make one with a Redis user for the workers of secure queues (the same Redis), and name it here.
{{- end }}
{{- if $development }}
{{- if $rabbitmq }}
development.createSecrets: expected false, because rabbitmq.cluster.enabled makes the broker's Secrets, got: true. Switch one of them off.
{{- end }}
{{- range $key := list "brokerUrl" "managementUrl" }}
{{- if not (index $.Values.development $key) }}
development.{{ $key }}: expected a URL, because development.createSecrets is on, got: nothing. Set it.
{{- end }}
{{- end }}
{{- if and .Values.results.enabled (not .Values.development.resultBackend) }}
development.resultBackend: expected a URL, because development.createSecrets and results.enabled are on, got: nothing. Set it.
{{- end }}
{{- else }}
{{- range $key := list "brokerUrl" "managementUrl" "resultBackend" }}
{{- if index $.Values.development $key }}
development.{{ $key }}: expected nothing, because development.createSecrets is off and it would have no effect, got a value. Remove it; a password does not belong into values.
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "laneway.problems.broker" -}}
{{- $broker := .Values.broker }}
{{- $cluster := .Values.rabbitmq.cluster }}
{{- $operator := .Values.rabbitmq.topologyOperator }}
{{- $secure := false }}
{{- $kedaHost := false }}
{{- range include "laneway.workers" . | fromJson }}
{{- if eq .vhost "secure" }}{{- $secure = true }}{{- end }}
{{- if and (eq .autoscaling.type "keda") $.Values.keda.rabbitmqFallback (not (index $.Values.keda .vhost).hostKey) }}{{- $kedaHost = true }}{{- end }}
{{- end }}
{{- if $cluster.enabled }}
{{- if $broker.host }}
broker.host: expected nothing, because rabbitmq.cluster.enabled says where the broker is, got: {{ $broker.host }}. Remove one of them.
{{- end }}
{{- if .Values.topology.hook }}
topology.hook: expected false where the broker is part of the release, got: true. The hook runs before the broker is there and would wait for it for ever; leave it a Job.
{{- end }}
{{- if and $secure (not $operator.enabled) }}
rabbitmq.topologyOperator.enabled: expected true where a queue is secure and the broker is part of the release, got: false. Without users of their own all workers could enter the virtual host of secure queues.
{{- end }}
{{- else }}
{{- if $operator.enabled }}
rabbitmq.topologyOperator.enabled: expected false without rabbitmq.cluster.enabled, got: true. It describes users of that cluster; for another broker, make them there.
{{- end }}
{{- $byPassword := list }}
{{- range $part := list "jobs" "secure" "control" "topology" }}
{{- if not (index $broker $part).urlKey }}{{- $byPassword = append $byPassword $part }}{{- end }}
{{- end }}
{{- if and (or $byPassword $kedaHost) (not $broker.host) (not .Values.development.createSecrets) }}
broker.host: expected the broker's host, because {{ if $byPassword }}broker.{{ first $byPassword }}.urlKey{{ else }}a hostKey of keda{{ end }} is empty, got: nothing. Set it, or name the key that holds the address.
{{- end }}
{{- end }}
{{- if and .Values.topology.hook .Values.development.createSecrets }}
topology.hook: expected false with development.createSecrets, got: true. The hook runs before the Secret is there.
{{- end }}
{{- if and .Values.topology.hook (not .Values.topology.enabled) }}
topology.hook: expected false where topology.enabled is false, got: true. It would have no effect.
{{- end }}
{{- end }}

{{/* What all pods together may ask of others when every queue is at its most. */}}
{{- define "laneway.problems.budget" -}}
{{- $broker := 0 }}
{{- $database := 0 }}
{{- $ofBroker := list }}
{{- $ofDatabase := list }}
{{- range $queue, $worker := include "laneway.workers" . | fromJson }}
{{- $most := include "laneway.mostPods" $worker | int }}
{{- $each := default (add (int $worker.concurrency) 2) (int $worker.brokerConnections) | int }}
{{- $jobs := mul (int $worker.concurrency) (int $worker.databaseConnectionsPerJob) | int }}
{{- $broker = add $broker (mul $most $each) }}
{{- $database = add $database (mul $most $jobs) }}
{{- $ofBroker = append $ofBroker (printf "%s %d x %d" $queue $most $each) }}
{{- $ofDatabase = append $ofDatabase (printf "%s %d x %d" $queue $most $jobs) }}
{{- end }}
{{- with .Values.budget }}
{{- if and .brokerConnections (gt $broker (int64 .brokerConnections)) }}
budget.brokerConnections: expected all workers at their most to hold at most {{ int .brokerConnections }} connections, got: {{ $broker }} ({{ join ", " $ofBroker }}). Lower autoscaling.max of a queue, or raise the budget together with the broker's limit.
{{- end }}
{{- if and .databaseConnections (gt $database (int64 .databaseConnections)) }}
budget.databaseConnections: expected all jobs at their most to hold at most {{ int .databaseConnections }} connections, got: {{ $database }} ({{ join ", " $ofDatabase }}). Lower autoscaling.max or concurrency of a queue, or raise the budget together with the database's limit: scaling into a full database makes everything slower.
{{- end }}
{{- end }}
{{- end }}

{{/* How a worker runs jobs and leaves: (dict "root" $ "worker" dict "queue" name "at" where). */}}
{{- define "laneway.problems.worker" -}}
{{- $worker := .worker }}
{{- $least := include "laneway.leastGrace" $worker | int }}
{{- $grace := include "laneway.grace" $worker | int }}
{{- if lt $grace $least }}
{{ .at }}.terminationGracePeriodSeconds: expected at least {{ $least }} (gracePeriodSeconds {{ $worker.gracePeriodSeconds }} + preStopSeconds {{ int $worker.preStopSeconds }} + 15 to hand back), got: {{ $grace }}. Raise it, or remove it.
{{- end }}
{{- $outlives := kindIs "invalid" $worker.timeLimitSeconds }}
{{- if not $outlives }}{{- $outlives = lt (float64 $worker.gracePeriodSeconds) (float64 $worker.timeLimitSeconds) }}{{- end }}
{{- if and $outlives (not $worker.handsBack) }}
{{ .at }}.gracePeriodSeconds: expected at least timeLimitSeconds ({{ default "none" $worker.timeLimitSeconds }}), got: {{ $worker.gracePeriodSeconds }}. Jobs that run longer are handed back and begin again elsewhere: say handsBack: true if they may, else give them the time.
{{- end }}
{{- if and $worker.softTimeLimitSeconds $worker.timeLimitSeconds }}
{{- if ge (float64 $worker.softTimeLimitSeconds) (float64 $worker.timeLimitSeconds) }}
{{ .at }}.softTimeLimitSeconds: expected less than timeLimitSeconds ({{ $worker.timeLimitSeconds }}), got: {{ $worker.softTimeLimitSeconds }}. It would never be reached.
{{- end }}
{{- end }}
{{- if not (has $worker.pool (list "prefork" "direct")) }}
{{- range $limit := list "softTimeLimitSeconds" "timeLimitSeconds" }}
{{- with index $worker $limit }}
{{ $.at }}.{{ $limit }}: expected none in the pool {{ $worker.pool }}, which cannot keep it, got: {{ . }}. Take prefork or direct, or remove the limit from the queue's file.
{{- end }}
{{- end }}
{{- end }}
{{- if and (eq $worker.pool "solo") (ne (int $worker.concurrency) 1) }}
{{ .at }}.concurrency: expected 1 in the pool solo, got: {{ int $worker.concurrency }}.
{{- end }}
{{- if and $worker.preStopSeconds (semverCompare "<1.30-0" .root.Capabilities.KubeVersion.Version) }}
{{ .at }}.preStopSeconds: expected 0 before Kubernetes 1.30, which cannot sleep without a shell, got: {{ int $worker.preStopSeconds }}. Remove it.
{{- end }}
{{- include "laneway.problems.environment" (dict "at" .at "part" $worker) }}
{{- end }}

{{/* Who decides the number of pods: as of laneway.problems.worker. */}}
{{- define "laneway.problems.scaling" -}}
{{- $worker := .worker }}
{{- $scaling := $worker.autoscaling }}
{{- $at := printf "%s.autoscaling" .at }}
{{- $type := $scaling.type }}
{{- if gt (int $scaling.min) (int $scaling.max) }}
{{ $at }}: expected min to be at most max ({{ int $scaling.max }}), got: {{ int $scaling.min }}.
{{- end }}
{{- if and (ne $type "none") $worker.externallyScaled }}
{{ .at }}.externallyScaled: expected false with autoscaling.type {{ $type }}, got: true. Only one may write the number of pods; set the type to none.
{{- end }}
{{- if not (kindIs "invalid" $worker.replicas) }}
{{- if or (ne $type "none") $worker.externallyScaled }}
{{ .at }}.replicas: expected nothing where {{ if ne $type "none" }}autoscaling.type is {{ $type }}{{ else }}externallyScaled is true{{ end }}, got: {{ int $worker.replicas }}. It would have no effect; set autoscaling.min, or hold the number with the command that NOTES show.
{{- end }}
{{- end }}
{{- if and (ne $type "none") (eq (int $scaling.min) 0) }}
{{- if or (eq $worker.vhost "secure") (lt (float64 $worker.serviceLevelSeconds) 60.0) }}
{{ $at }}.min: expected at least 1 on a queue that {{ if eq $worker.vhost "secure" }}is secure{{ else }}promises {{ $worker.serviceLevelSeconds }} s{{ end }}, got: 0. The first job would wait for a pod to start.
{{- end }}
{{- if eq $type "hpa" }}
{{- if semverCompare "<1.37-0" .root.Capabilities.KubeVersion.Version }}
{{ $at }}.min: expected at least 1 with an HPA before Kubernetes 1.37, got: 0 on {{ .root.Capabilities.KubeVersion.Version }}. Set 1, or type: keda.
{{- end }}
{{- $counted := not $scaling.metrics }}
{{- range $scaling.metrics }}{{- if has .type (list "External" "Object") }}{{- $counted = true }}{{- end }}{{- end }}
{{- if not $counted }}
{{ $at }}.min: expected at least 1 without an External or Object metric, got: 0. Where no pod runs, nothing else has a value.
{{- end }}
{{- end }}
{{- end }}
{{- if and $scaling.metrics (ne $type "hpa") }}
{{ $at }}.metrics: expected none with type {{ $type }}, got some. They would have no effect; remove them{{ if eq $type "keda" }} or make them extraTriggers{{ end }}.
{{- end }}
{{- if and $scaling.annotations (eq $type "none") }}
{{ $at }}.annotations: expected none with type none, got some. There is nothing to put them on; remove them.
{{- end }}
{{- if ne $type "keda" }}
{{- range $key := list "extraTriggers" "formula" }}
{{- if index $scaling $key }}
{{ $at }}.{{ $key }}: expected nothing with type {{ $type }}, got a value. It would have no effect; remove it or set type: keda.
{{- end }}
{{- end }}
{{- else }}
{{- $formula := include "laneway.formula" (dict "root" .root "scaling" $scaling) }}
{{- $known := list "slots" }}
{{- if .root.Values.keda.rabbitmqFallback }}{{- $known = append $known "rabbit" }}{{- end }}
{{- range $scaling.extraTriggers }}
{{- if has .name $known }}
{{ $at }}.extraTriggers: expected names of their own, got: {{ .name }} twice. Rename it.
{{- end }}
{{- $known = append $known .name }}
{{- if not (regexMatch (printf "\\b%s\\b" (regexQuoteMeta .name)) $formula) }}
{{ $at }}.formula: expected it to use the trigger {{ .name }}, got: {{ $formula }}. A trigger that no formula names has no effect.
{{- end }}
{{- end }}
{{- end }}
{{- if and (not .root.Values.control.enabled) (or (eq $type "keda") (and (eq $type "hpa") (not $scaling.metrics))) }}
control.enabled: expected true, because the control process says how many slots {{ .queue }} needs ({{ $at }}.type {{ $type }}), got: false. Enable it, or set type: none.
{{- end }}
{{- end }}

{{/* What else stands in a worker's pod: as of laneway.problems.worker. */}}
{{- define "laneway.problems.pod" -}}
{{- $worker := .worker }}
{{- range $key, $_ := $worker.podLabels }}
{{- if has $key (list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "laneway.dev/queue") }}
{{ $.at }}.podLabels: expected labels that select nothing, got: {{ $key }}. Remove it; the Deployment finds its pods by it.
{{- end }}
{{- end }}
{{- $secret := include "laneway.brokerSecret" (dict "root" .root "part" "secure") }}
{{- if and (ne $worker.vhost "secure") $secret }}
{{- range $key := list "extraEnv" "extraEnvFrom" "extraVolumes" "initContainers" "sidecars" }}
{{- $text := index $worker $key | toJson }}
{{- if or (contains (printf "\"name\":%q" $secret) $text) (contains (printf "\"secretName\":%q" $secret) $text) }}
{{ $.at }}.{{ $key }}: expected nothing of the Secret {{ $secret }}, which only workers of secure queues get, got a reference to it. Remove it.
{{- end }}
{{- end }}
{{- end }}
{{- $names := list "tmp" "policy" }}
{{- range $worker.extraVolumes }}
{{- if has .name $names }}
{{ $.at }}.extraVolumes: expected a name of its own, got: {{ .name }}, which is taken. Rename it.
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- end }}

{{/* Variables that the chart sets itself, or that are said twice: (dict "at" where "part" dict). */}}
{{- define "laneway.problems.environment" -}}
{{- $own := list "BROKER_USER" "BROKER_PASSWORD" "LANEWAY_APP" "LANEWAY_APP_DIR" "LANEWAY_BROKER_URL" "LANEWAY_HEALTH" "LANEWAY_IMAGE" "LANEWAY_KEY_SECRET" "LANEWAY_LOG_LEVEL" "LANEWAY_MANAGEMENT_URL" "LANEWAY_POLICY" "LANEWAY_REDIS_URL" "LANEWAY_RELEASE" "LANEWAY_RESULT_BACKEND" "LANEWAY_SENTRY_DSN" "LANEWAY_SENTRY_ENVIRONMENT" "LANEWAY_SENTRY_SECURE_DSN" "LANEWAY_SENTRY_TRACES" "LANEWAY_VHOST_PREFIX" }}
{{- $said := dict }}
{{- range $name, $_ := .part.env }}{{- $_ := set $said $name "env" }}{{- end }}
{{- range .part.extraEnv }}
{{- if hasKey $said .name }}
{{ $.at }}.extraEnv: expected each variable once, got: {{ .name }} twice. Remove one.
{{- end }}
{{- $_ := set $said .name "extraEnv" }}
{{- end }}
{{- range $name, $where := $said }}
{{- if has $name (concat $own (default list $.more)) }}
{{ $.at }}.{{ $where }}: expected no variable that the chart sets itself, got: {{ $name }}. Set the value that it is made of.
{{- end }}
{{- end }}
{{- end }}
