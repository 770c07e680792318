{{/* Rules of NetworkPolicies. */}}

{{/* A rule: (dict "side" "to" or "from" "peers" list "ports" list "protocols" list). Without peers:
anywhere. */}}
{{- define "laneway.networkRule" -}}
- ports:
  {{- range $port := .ports }}
  {{- range $protocol := default (list "TCP") $.protocols }}
    - port: {{ if kindIs "string" $port }}{{ $port }}{{ else }}{{ int $port }}{{ end }}
      protocol: {{ $protocol }}
  {{- end }}
  {{- end }}
  {{- with .peers }}
  {{ $.side }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Names and the broker, which all parts reach: (dict "root" $ "policy" dict of
workerDefaults.networkPolicy). */}}
{{- define "laneway.egressToBroker" -}}
{{- include "laneway.networkRule" (dict "side" "to" "peers" .policy.dns "ports" (list 53) "protocols" (list "UDP" "TCP")) }}
{{ include "laneway.networkRule" (dict "side" "to" "peers" .policy.broker "ports" (append .policy.brokerPorts .root.Values.broker.port | uniq)) }}
{{- end }}

{{/* The broker's management interface: $. */}}
{{- define "laneway.egressToManagement" -}}
{{- $policy := .Values.control.networkPolicy -}}
{{- include "laneway.networkRule" (dict "side" "to" "peers" $policy.management "ports" (append $policy.managementPorts .Values.broker.managementPort | uniq)) }}
{{- end }}

{{/* What a part that works on jobs reaches: (dict "root" $ "policy" dict of workerDefaults.networkPolicy
"reports" bool "extra" list). */}}
{{- define "laneway.egress" -}}
{{- include "laneway.egressToBroker" . }}
{{- if .root.Values.results.enabled }}
{{ include "laneway.networkRule" (dict "side" "to" "peers" .policy.redis "ports" .policy.redisPorts) }}
{{- end }}
{{- if .reports }}
{{ include "laneway.networkRule" (dict "side" "to" "peers" .policy.sentry "ports" .policy.sentryPorts) }}
{{- end }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Whether a worker has a NetworkPolicy; empty is no. */}}
{{- define "laneway.hasNetworkPolicy" -}}
{{- if or (eq .networkPolicy.enabled "always") (and (eq .networkPolicy.enabled "auto") (eq .vhost "secure")) -}}true{{- end -}}
{{- end }}
