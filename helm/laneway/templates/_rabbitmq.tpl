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
{{- /* Users: their tags, and their rights by virtual host. A worker's user works on the queues of its
own virtual host and cannot delete or change what stands there; into the other one it may publish (a
chain may lead there) and nothing else. */}}
{{- $publish := dict "configure" "^$" "write" "^(jobs|celery_delayed_27)$" "read" "^$" }}
{{- $look := dict "configure" "^$" "write" "^$" "read" "^$" }}
{{- /* (RabbitMQ 4.3 lets only those see whether something stands who have any right on it. So all may
read the topology's mark, an exchange that no message ever enters, and write to `dead` and `dead.inbox`:
by amq.default they may publish there anyway.) */}}
{{- $work := dict }}
{{- $control := dict }}
{{- range $vhost := $vhosts }}
{{- $queues := list }}
{{- range $queue, $worker := $workers }}
{{- if eq $worker.vhost $vhost }}{{- $queues = append $queues $queue }}{{- end }}
{{- end }}
{{- $_ := set $work $vhost (dict
      "configure" "^(celeryev|(reply\\.)?celery\\.pidbox|.*\\.celery\\.pidbox)$"
      "write" "^(amq\\.default|jobs|celery_delayed_27|dead|dead\\.inbox|worker\\.reports|celeryev|(reply\\.)?celery\\.pidbox|.*\\.celery\\.pidbox)$"
      "read" (printf "^(%s|laneway\\.(paused|topology)\\..*|celery\\.pidbox|.*\\.celery\\.pidbox)$" (join "|" $queues))) }}
{{- /* It counts what waits in the queues, for which the right to bind them is enough, and consumes none. */}}
{{- $_ := set $control $vhost (dict
      "configure" "^(worker\\.reports\\..*|dead\\.lock.*)$"
      "write" (printf "^(amq\\.default|jobs|celery_delayed_.*|dead|worker\\.reports\\..*|dead\\.lock.*|%s|laneway\\.paused\\..*)$" (join "|" $queues))
      "read" "^(dead\\..*|worker\\.reports.*|laneway\\.topology\\..*)$") }}
{{- end }}
{{- $users := dict
      "jobs" (dict "jobs" (get $work "jobs") "secure" $publish)
      "secure" (dict "jobs" $publish "secure" (get $work "secure"))
      "control" (dict "jobs" (get $control "jobs") "secure" (get $control "secure"))
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
    {{- toYaml $right | nindent 4 }}
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
  name: {{ $queue | quote }}
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
