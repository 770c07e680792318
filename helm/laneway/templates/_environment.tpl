{{/* What the processes read: addresses and secrets by reference, and nothing that they do not need. */}}

{{/* The Secret with the broker's address: (dict "root" $ "part" "jobs"), "secure", "control" or
"topology". With the chart's own RabbitMQ, the one that an operator makes for that user; only its
first user may do what the topology needs. */}}
{{- define "laneway.brokerSecret" -}}
{{- $values := .root.Values -}}
{{- if $values.development.createSecrets -}}
{{- include "laneway.partName" (dict "root" .root "part" (printf "broker-%s" .part)) -}}
{{- else if $values.rabbitmq.cluster.enabled -}}
{{- if and $values.rabbitmq.topologyOperator.enabled (ne .part "topology") -}}
{{- include "laneway.partName" (dict "root" .root "part" .part) }}-user-credentials
{{- else -}}
{{- include "laneway.partName" (dict "root" .root "part" "rabbitmq") }}-default-user
{{- end -}}
{{- else -}}
{{- (index $values.broker .part).existingSecret -}}
{{- end -}}
{{- end }}

{{/* Whether that Secret holds URLs, and not a user and a password; empty is no. As above. */}}
{{- define "laneway.brokerSecretHasUrl" -}}
{{- $values := .root.Values -}}
{{- if or $values.development.createSecrets (and (not $values.rabbitmq.cluster.enabled) (index $values.broker .part).urlKey) -}}true{{- end -}}
{{- end }}

{{- define "laneway.brokerHost" -}}
{{- if .Values.rabbitmq.cluster.enabled -}}
{{- include "laneway.partName" (dict "root" $ "part" "rabbitmq") }}.{{ .Release.Namespace }}.svc
{{- else -}}
{{- .Values.broker.host -}}
{{- end -}}
{{- end }}

{{- define "laneway.fromSecret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}

{{/* LANEWAY_BROKER_URL, and with "management" LANEWAY_MANAGEMENT_URL: as of laneway.brokerSecret. */}}
{{- define "laneway.brokerEnv" -}}
{{- $broker := .root.Values.broker -}}
{{- $part := index $broker .part -}}
{{- $secret := include "laneway.brokerSecret" . -}}
{{- if include "laneway.brokerSecretHasUrl" . }}
{{ include "laneway.fromSecret" (dict "name" "LANEWAY_BROKER_URL" "secret" $secret "key" (default "url" $part.urlKey)) }}
{{- if .management }}
{{ include "laneway.fromSecret" (dict "name" "LANEWAY_MANAGEMENT_URL" "secret" $secret "key" $part.managementUrlKey) }}
{{- end }}
{{- else }}
{{- $host := include "laneway.brokerHost" .root }}
{{ include "laneway.fromSecret" (dict "name" "BROKER_USER" "secret" $secret "key" $part.usernameKey) }}
{{ include "laneway.fromSecret" (dict "name" "BROKER_PASSWORD" "secret" $secret "key" $part.passwordKey) }}
- name: LANEWAY_BROKER_URL
  value: {{ ternary "amqps" "amqp" $broker.tls }}://$(BROKER_USER):$(BROKER_PASSWORD)@{{ $host }}:{{ int $broker.port }}
{{- if .management }}
- name: LANEWAY_MANAGEMENT_URL
  value: {{ ternary "https" "http" $broker.tls }}://$(BROKER_USER):$(BROKER_PASSWORD)@{{ $host }}:{{ int $broker.managementPort }}
{{- end }}
{{- end }}
{{- with $broker.vhostPrefix }}
- name: LANEWAY_VHOST_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- if .root.Values.policy.existingConfigMap }}
- name: LANEWAY_POLICY
  value: /etc/laneway/policy
{{- end }}
{{- end }}

{{/* Where results are: (dict "root" $ "secure" bool). */}}
{{- define "laneway.resultsEnv" -}}
{{- $results := .root.Values.results -}}
{{- if $results.enabled }}
{{- $secret := ternary $results.secure.existingSecret $results.existingSecret (default false .secure) -}}
{{- if .root.Values.development.createSecrets -}}
{{- $secret = include "laneway.partName" (dict "root" .root "part" (ternary "results-secure" "results" (default false .secure))) -}}
{{- end }}
{{ include "laneway.fromSecret" (dict "name" "LANEWAY_RESULT_BACKEND" "secret" $secret "key" (default "url" $results.urlKey)) }}
{{- with $results.marksUrlKey }}
{{ include "laneway.fromSecret" (dict "name" "LANEWAY_REDIS_URL" "secret" $secret "key" .) }}
{{- end }}
{{- end }}
{{- with .root.Values.keySecret.existingSecret }}
{{ include "laneway.fromSecret" (dict "name" "LANEWAY_KEY_SECRET" "secret" . "key" $.root.Values.keySecret.key) }}
{{- end }}
{{- end }}

{{/* Whether a part reports to Sentry: (dict "root" $ "jobs" bool "secure" bool); empty is no. */}}
{{- define "laneway.reports" -}}
{{- $sentry := .root.Values.sentry -}}
{{- if or (and .jobs $sentry.existingSecret) (and .secure $sentry.secure.existingSecret) -}}true{{- end -}}
{{- end }}

{{/* Where failures are reported: as of laneway.reports, and "image" for its tag. A worker gets the
DSN of its own kind only. */}}
{{- define "laneway.sentryEnv" -}}
{{- $sentry := .root.Values.sentry -}}
{{- if include "laneway.reports" . }}
{{- if and .jobs $sentry.existingSecret }}
{{ include "laneway.fromSecret" (dict "name" "LANEWAY_SENTRY_DSN" "secret" $sentry.existingSecret "key" $sentry.dsnKey) }}
{{- end }}
{{- if and .secure $sentry.secure.existingSecret }}
{{ include "laneway.fromSecret" (dict "name" "LANEWAY_SENTRY_SECURE_DSN" "secret" $sentry.secure.existingSecret "key" $sentry.secure.dsnKey) }}
{{- end }}
- name: LANEWAY_SENTRY_ENVIRONMENT
  value: {{ $sentry.environment | quote }}
- name: LANEWAY_SENTRY_TRACES
  value: {{ $sentry.traces | quote }}
{{- end }}
- name: LANEWAY_RELEASE
  value: {{ coalesce $sentry.release (.image | default dict).tag .root.Values.image.tag .root.Chart.AppVersion | quote }}
- name: LANEWAY_IMAGE
  value: {{ include "laneway.image" . | quote }}
{{- end }}

{{/* The user's own: whatever has env and extraEnv. */}}
{{- define "laneway.ownEnv" -}}
{{- range $name, $value := .env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Everything of a worker: (dict "root" $ "worker" dict). */}}
{{- define "laneway.workerEnv" -}}
{{- $secure := eq .worker.vhost "secure" -}}
- name: LANEWAY_APP
  value: {{ default .root.Values.app .worker.app | quote }}
{{- with .root.Values.appDir }}
- name: LANEWAY_APP_DIR
  value: {{ . | quote }}
{{- end }}
{{- include "laneway.processEnv" . }}
{{- include "laneway.brokerEnv" (dict "root" .root "part" .worker.vhost) }}
{{- include "laneway.resultsEnv" (dict "root" .root "secure" $secure) }}
{{- include "laneway.sentryEnv" (dict "root" .root "jobs" (not $secure) "secure" $secure "image" .worker.image) }}
{{- include "laneway.ownEnv" .worker }}
{{- end }}

{{/* Everything of the control process: (dict "root" $). It stands for both virtual hosts. */}}
{{- define "laneway.controlEnv" -}}
{{- $control := .root.Values.control -}}
{{- with $control.app }}
- name: LANEWAY_APP
  value: {{ . | quote }}
{{- with $.root.Values.appDir }}
- name: LANEWAY_APP_DIR
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- include "laneway.processEnv" . }}
{{- include "laneway.brokerEnv" (dict "root" .root "part" "control" "management" true) }}
{{- include "laneway.resultsEnv" (dict "root" .root) }}
{{- include "laneway.sentryEnv" (dict "root" .root "jobs" true "secure" true "image" $control.image) }}
{{- include "laneway.ownEnv" $control }}
{{- end }}

{{/* Of whatever runs long. */}}
{{- define "laneway.processEnv" }}
- name: LANEWAY_HEALTH
  value: 0.0.0.0:8080
- name: LANEWAY_LOG_LEVEL
  value: {{ .root.Values.log.level }}
{{- end }}

{{/* What every container has: a /tmp, and the policy if it is in a ConfigMap, with its files as they
stand in a checkout. (dict "root" $ "size" "64Mi"), and the mounts of the root. */}}
{{- define "laneway.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .size }}
{{- with .root.Values.policy.existingConfigMap }}
- name: policy
  configMap:
    name: {{ . }}
    items:
      - key: routing.py
        path: routing.py
      {{- range $queue, $_ := $.root.Values.workers }}
      - key: {{ $queue }}.toml
        path: queues/{{ $queue }}.toml
      {{- end }}
{{- end }}
{{- end }}

{{- define "laneway.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.policy.existingConfigMap }}
- name: policy
  mountPath: /etc/laneway/policy
  readOnly: true
{{- end }}
{{- end }}

{{/* Changes when something that the pods of a part read has changed, and is not in their own spec:
(dict "root" $ "part" "jobs"). Of no other part: a change must not restart others. */}}
{{- define "laneway.checksum" -}}
{{- $read := dict "policy" .root.Values.policy.revision -}}
{{- if .root.Values.development.createSecrets -}}
{{- $_ := set $read "development" (ternary .root.Values.development (omit .root.Values.development "managementUrl") (hasKey . "management")) -}}
{{- end -}}
{{- $read | toJson | sha256sum -}}
{{- end }}
