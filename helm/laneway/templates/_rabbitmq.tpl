{{/* Virtual hosts, users, rights and queues as objects of RabbitMQ's messaging topology operator:
(dict "root" $ "cluster" name). All of them are kept: an object that goes must not take messages with
it. What stands in a virtual host beyond its queues is the topology's Job to make. */}}
{{- define "laneway.rabbitmqTopology" -}}
{{- $root := .root -}}
{{- $cluster := .cluster -}}
{{- $prefix := $root.Values.broker.vhostPrefix -}}
{{- $workers := include "laneway.workers" $root | fromJson -}}
{{- $vhosts := list -}}
{{- range $workers -}}{{- $vhosts = append $vhosts .vhost -}}{{- end -}}
{{- $vhosts = $vhosts | uniq | sortAlpha -}}
{{- range $vhost := $vhosts }}
{{ include "laneway.rabbitmqHead" (dict "root" $root "kind" "Vhost" "name" (printf "vhost-%s" $vhost)) }}
spec:
  name: {{ $prefix }}{{ $vhost }}
  defaultQueueType: quorum
  deletionPolicy: retain
  rabbitmqClusterReference:
    name: {{ $cluster }}
{{- end }}
{{- /* Users: their tags, and their rights by virtual host as configure, write, read. A user of one
virtual host may publish into the other (a chain may lead there), and can neither read nor change it. */}}
{{- $all := list ".*" ".*" ".*" }}
{{- $publish := list "^$" "^(jobs|celery_delayed_27)$" "^$" }}
{{- $look := list "^$" "^$" "^$" }}
{{- $users := dict
      "jobs" (dict "jobs" $all "secure" $publish)
      "secure" (dict "jobs" $publish "secure" $all)
      "control" (dict "jobs" $all "secure" $all)
      "scaler-jobs" (dict "jobs" $look)
      "scaler-secure" (dict "secure" $look) }}
{{- $tags := dict "control" (list "monitoring") "scaler-jobs" (list "management") "scaler-secure" (list "management") }}
{{- range $user, $rights := $users }}
{{- if or (not (hasSuffix "secure" $user)) (has "secure" $vhosts) }}
{{- if or (not (hasSuffix "jobs" $user)) (has "jobs" $vhosts) }}
{{- $name := include "laneway.partName" (dict "root" $root "part" $user) }}
{{ include "laneway.rabbitmqHead" (dict "root" $root "kind" "User" "name" $user) }}
spec:
  {{- with get $tags $user }}
  tags:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rabbitmqClusterReference:
    name: {{ $cluster }}
{{- range $vhost, $right := $rights }}
{{- if has $vhost $vhosts }}
{{ include "laneway.rabbitmqHead" (dict "root" $root "kind" "Permission" "name" (printf "%s-in-%s" $user $vhost)) }}
spec:
  vhost: {{ $prefix }}{{ $vhost }}
  userReference:
    name: {{ $name }}
  permissions:
    configure: {{ index $right 0 | quote }}
    write: {{ index $right 1 | quote }}
    read: {{ index $right 2 | quote }}
  rabbitmqClusterReference:
    name: {{ $cluster }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if $root.Values.rabbitmq.topologyOperator.queues }}
{{- range $queue, $worker := $workers }}
{{ include "laneway.rabbitmqHead" (dict "root" $root "kind" "Queue" "name" (printf "queue-%s" $queue)) }}
spec:
  name: {{ $queue }}
  vhost: {{ $prefix }}{{ $worker.vhost }}
  type: quorum
  durable: true
  deletionPolicy: retain
  rabbitmqClusterReference:
    name: {{ $cluster }}
{{- end }}
{{- end }}
{{- end }}

{{/* The beginning of such an object: (dict "root" $ "kind" ... "name" of the part). */}}
{{- define "laneway.rabbitmqHead" -}}
---
apiVersion: rabbitmq.com/v1beta1
kind: {{ .kind }}
metadata:
  {{- include "laneway.metadata" (dict "root" .root "component" "rabbitmq" "name" (include "laneway.partName" (dict "root" .root "part" .name)) "annotations" (dict "helm.sh/resource-policy" "keep")) | nindent 2 }}
{{- end }}
