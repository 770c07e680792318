{{/* How the number of pods follows the number of slots. */}}

{{/* Out at once, in slowly: a worker that goes takes its warm processes with it, and what it runs
longer than its grace begins again elsewhere. */}}
{{- define "laneway.behavior" -}}
{{- $made := dict
      "scaleUp" (dict
        "stabilizationWindowSeconds" 0
        "selectPolicy" "Max"
        "policies" (list
          (dict "type" "Percent" "value" 900 "periodSeconds" 15)))
      "scaleDown" (dict
        "stabilizationWindowSeconds" (int .scaleInAfterSeconds)
        "selectPolicy" "Max"
        "policies" (list
          (dict "type" "Percent" "value" (int .scaleInPercentPerMinute) "periodSeconds" 60)
          (dict "type" "Pods" "value" (int .scaleInPodsPerMinute) "periodSeconds" 60))) -}}
{{- mergeOverwrite $made (deepCopy .behavior) | toYaml -}}
{{- end }}

{{/* Slots as the control process says, else one for each message that RabbitMQ counts, running ones
among them: no worker that may be busy is taken away, and `max` bounds it. (Times one, so that it is
an error and not nil when nobody answers: pods then stay as they are.) */}}
{{- define "laneway.formula" -}}
{{- if .scaling.formula -}}
{{- .scaling.formula -}}
{{- else if .root.Values.keda.rabbitmqFallback -}}
slots ?? (rabbit * 1)
{{- else -}}
slots
{{- end -}}
{{- end }}

{{/* The Secret of KEDA's RabbitMQ trigger: (dict "root" $ "vhost" "jobs"). */}}
{{- define "laneway.scalerSecret" -}}
{{- if .root.Values.development.createSecrets -}}
{{- include "laneway.partName" (dict "root" .root "part" (printf "scaler-%s" .vhost)) -}}
{{- else if .root.Values.rabbitmq.cluster.enabled -}}
{{- if .root.Values.rabbitmq.topologyOperator.enabled -}}
{{- include "laneway.partName" (dict "root" .root "part" (printf "scaler-%s" .vhost)) }}-user-credentials
{{- else -}}
{{- include "laneway.partName" (dict "root" .root "part" "rabbitmq") }}-default-user
{{- end -}}
{{- else -}}
{{- (index .root.Values.keda .vhost).existingSecret -}}
{{- end -}}
{{- end }}

{{/* The key of that Secret with the management interface's address; empty: it is in no Secret. */}}
{{- define "laneway.scalerHostKey" -}}
{{- if .root.Values.development.createSecrets -}}
host
{{- else if not .root.Values.rabbitmq.cluster.enabled -}}
{{- (index .root.Values.keda .vhost).hostKey -}}
{{- end -}}
{{- end }}
