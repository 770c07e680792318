{{/* Names, labels, images, and the workers as they are after the merge. */}}

{{- define "laneway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A name of at most 63 characters; two that were cut may be equal, which _validate.tpl asks. Takes the name. */}}
{{- define "laneway.short" -}}
{{- if le (len .) 63 -}}
{{- . -}}
{{- else -}}
{{- printf "%s-%s" (. | trunc 54 | trimSuffix "-") (. | sha256sum | trunc 8) -}}
{{- end -}}
{{- end }}

{{/* The name of a part: (dict "root" $ "part" "control"). */}}
{{- define "laneway.partName" -}}
{{- include "laneway.short" (printf "%s-%s" (include "laneway.fullname" .root) .part) -}}
{{- end }}

{{/* The name of everything that belongs to a worker: (dict "root" $ "queue" "high"). */}}
{{- define "laneway.workerName" -}}
{{- include "laneway.partName" (dict "root" .root "part" (printf "worker-%s" .queue)) -}}
{{- end }}

{{/* What selects the pods of a part, and never changes: (dict "root" $ "component" "worker" "queue"
"high"). */}}
{{- define "laneway.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .queue }}
laneway.dev/queue: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Labels of an object: as of laneway.selector. */}}
{{- define "laneway.labels" -}}
{{- $own := include "laneway.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" (default .root.Chart.AppVersion .root.Values.image.tag | replace "+" "_" | trunc 63 | regexFind "^.*[A-Za-z0-9]") -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "laneway" -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63) -}}
{{- mergeOverwrite (deepCopy .root.Values.commonLabels) $own | toYaml -}}
{{- end }}

{{/* Labels of a pod, with "more" ones of the user. Versions are not among them: a new chart must not
restart what it does not change. */}}
{{- define "laneway.podLabels" -}}
{{- $own := include "laneway.selector" . | fromYaml -}}
{{- mergeOverwrite (deepCopy .root.Values.commonLabels) (deepCopy (.more | default dict)) $own | toYaml -}}
{{- end }}

{{/* The block `metadata`: (dict "root" $ "name" ... "component" ... "queue" ... "annotations" dict
"labels" dict). */}}
{{- define "laneway.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- mergeOverwrite (deepCopy (.labels | default dict)) (include "laneway.labels" . | fromYaml) | toYaml | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (deepCopy (.annotations | default dict)) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* An image: (dict "root" $ "image" dict). What is empty is as for all; the digest for all is not
that of another tag or repository. */}}
{{- define "laneway.image" -}}
{{- $own := dict -}}
{{- range $key, $value := .image | default dict }}{{ if $value }}{{ $_ := set $own $key $value }}{{ end }}{{ end -}}
{{- $image := mergeOverwrite (deepCopy .root.Values.image) (deepCopy $own) -}}
{{- if and (or $own.tag $own.repository) (not $own.digest) -}}{{- $_ := unset $image "digest" -}}{{- end -}}
{{- $registry := default .root.Values.global.imageRegistry $image.registry -}}
{{- $path := $image.repository -}}
{{- if $registry -}}{{- $path = printf "%s/%s" (trimSuffix "/" $registry) $path -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $path $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $path (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end }}

{{- define "laneway.imagePullPolicy" -}}
{{- (mergeOverwrite (deepCopy .root.Values.image) (deepCopy (.image | default dict))).pullPolicy -}}
{{- end }}

{{- define "laneway.imagePullSecrets" -}}
{{- with concat .Values.global.imagePullSecrets .Values.imagePullSecrets | uniq -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* A map over another, at every depth; null takes a key away. (dict "under" dict "over" dict); read
it with fromJson. */}}
{{- define "laneway.overlay" -}}
{{- $made := deepCopy .under -}}
{{- range $key, $value := .over -}}
{{- $there := get $made $key -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $made $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" $there) -}}
{{- $_ := set $made $key (include "laneway.overlay" (dict "under" $there "over" $value) | fromJson) -}}
{{- else -}}
{{- $_ := set $made $key $value -}}
{{- end -}}
{{- end -}}
{{- $made | toJson -}}
{{- end }}

{{/* The workers that are to be, by queue, each merged over workerDefaults; read it with fromJson. */}}
{{- define "laneway.workers" -}}
{{- $workers := dict -}}
{{- range $queue, $own := .Values.workers -}}
{{- $worker := include "laneway.overlay" (dict "under" $.Values.workerDefaults "over" $own) | fromJson -}}
{{- if $worker.enabled -}}
{{- $_ := set $workers $queue $worker -}}
{{- end -}}
{{- end -}}
{{- $workers | toJson -}}
{{- end }}

{{/* The pods that a worker may have at most. */}}
{{- define "laneway.mostPods" -}}
{{- if and (eq .autoscaling.type "none") (not .externallyScaled) -}}
{{- include "laneway.replicas" . -}}
{{- else -}}
{{- int .autoscaling.max -}}
{{- end -}}
{{- end }}

{{/* The pods of a worker that nothing scales. */}}
{{- define "laneway.replicas" -}}
{{- if kindIs "invalid" .replicas -}}{{- int .autoscaling.min -}}{{- else -}}{{- int .replicas -}}{{- end -}}
{{- end }}

{{/* Seconds that a worker's pod needs to leave: its own grace, what stands before it, and time to
hand back. */}}
{{- define "laneway.leastGrace" -}}
{{- add (ceil .gracePeriodSeconds | int) (int .preStopSeconds) 15 -}}
{{- end }}

{{- define "laneway.grace" -}}
{{- if kindIs "invalid" .terminationGracePeriodSeconds -}}
{{- include "laneway.leastGrace" . -}}
{{- else -}}
{{- int .terminationGracePeriodSeconds -}}
{{- end -}}
{{- end }}

{{/* The ServiceAccount's name: (dict "account" dict "name" "of the part"). */}}
{{- define "laneway.serviceAccountName" -}}
{{- if .account.create -}}
{{- default .name .account.name -}}
{{- else -}}
{{- default "default" .account.name -}}
{{- end -}}
{{- end }}

{{/* Spread over zones and nodes: (dict "root" $ "component" ... "queue" ... "constraints" list).
Constraints without a selector get the part's own, and count each version of its pods by itself. */}}
{{- define "laneway.spread" -}}
{{- $selector := include "laneway.selector" . | fromYaml -}}
{{- $constraints := .constraints -}}
{{- if not $constraints -}}
{{- $constraints = list
      (dict "maxSkew" 1 "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" "ScheduleAnyway")
      (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- end -}}
topologySpreadConstraints:
{{- range $constraints }}
{{- $one := deepCopy . -}}
{{- if not $one.labelSelector -}}
{{- $_ := set $one "labelSelector" (dict "matchLabels" $selector) -}}
{{- if not $one.matchLabelKeys -}}{{- $_ := set $one "matchLabelKeys" (list "pod-template-hash") -}}{{- end -}}
{{- end }}
  - {{ toYaml $one | nindent 4 | trim }}
{{- end }}
{{- end }}

{{/* Where a pod may run, of whatever has these keys. */}}
{{- define "laneway.placement" -}}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{/* A PodDisruptionBudget: (dict "root" $ "component" ... "queue" ... "pdb" dict). A pod that is not
ready does no work, so it may always go. */}}
{{- define "laneway.pdbSpec" -}}
maxUnavailable: {{ if kindIs "string" .pdb.maxUnavailable }}{{ .pdb.maxUnavailable | quote }}{{ else }}{{ int .pdb.maxUnavailable }}{{ end }}
unhealthyPodEvictionPolicy: AlwaysAllow
selector:
  matchLabels:
    {{- include "laneway.selector" . | nindent 4 }}
{{- end }}
