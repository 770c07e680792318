{{/*
The bound of the histogram of waits that a service level is judged by: the smallest that is not shorter,
so that a promise that is kept never rings. These are the buckets of every worker.
*/}}
{{- define "laneway.alerts.bound" -}}
{{- $level := float64 . -}}
{{- $found := "" -}}
{{- range $bound := list "0.001" "0.0025" "0.005" "0.01" "0.025" "0.05" "0.1" "0.25" "0.5" "1.0" "2.5" "5.0" "10.0" "30.0" "60.0" "300.0" "900.0" "3600.0" -}}
{{- if and (not $found) (ge (float64 $bound) $level) -}}
{{- $found = $bound -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end }}

{{/* The share of started jobs that had waited longer than the bound, over a window. */}}
{{- define "laneway.alerts.late" -}}
1 - sum(rate(laneway_wait_seconds_bucket{{ .which }}[{{ .over }}])) / sum(rate(laneway_wait_seconds_count{{ .all }}[{{ .over }}]))
{{- end }}

{{/* One rule. Takes root, alert, expr, for, severity, labels, summary, cure. */}}
{{- define "laneway.alerts.rule" -}}
- alert: {{ .alert }}
  expr: {{ .expr | quote }}
  for: {{ .for }}
  labels:
    severity: {{ .severity }}
    {{- range $name, $value := merge (deepCopy .labels) .root.Values.monitoring.prometheusRule.alertLabels }}
    {{ $name }}: {{ $value | quote }}
    {{- end }}
  annotations:
    summary: {{ .summary | quote }}
    description: {{ .cure | quote }}
    runbook_url: {{ printf "%s#%s" .root.Values.monitoring.prometheusRule.runbook (lower .alert) | quote }}
{{- end }}

{{/* What can be wrong with one queue. Takes root, queue, worker. */}}
{{- define "laneway.alerts.queue" -}}
{{- $root := .root }}
{{- $queue := .queue }}
{{- $worker := .worker }}
{{- $labels := dict "queue" $queue }}
{{- $all := printf `{namespace="%s",queue="%s"}` $root.Release.Namespace $queue }}
{{- $kind := printf `laneway_facts_total{namespace="%s",queue="%s",kind="%%s"}` $root.Release.Namespace $queue }}
{{- $backlog := printf "max(laneway_backlog_jobs%s)" $all }}
{{- $level := $worker.serviceLevelSeconds }}
{{- $bound := include "laneway.alerts.bound" $level }}
- name: {{ include "laneway.fullname" $root }}-{{ $queue }}
  rules:
    {{- if $bound }}
    {{- $which := printf `{namespace="%s",queue="%s",le="%s"}` $root.Release.Namespace $queue $bound }}
    {{- $late := dict "which" $which "all" $all }}
    {{- $enough := printf "sum(increase(laneway_wait_seconds_count%s[1h])) >= 20" $all }}
    {{- $fast := printf "%s > 0.30 and %s > 0.30 and %s" (include "laneway.alerts.late" (set $late "over" "5m")) (include "laneway.alerts.late" (set $late "over" "1h")) $enough }}
    {{- $slow := printf "%s > 0.10 and %s > 0.10 and %s" (include "laneway.alerts.late" (set $late "over" "30m")) (include "laneway.alerts.late" (set $late "over" "6h")) $enough }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayServiceLevelBurnsFast" "expr" $fast "for" "2m" "severity" "critical" "labels" $labels
      "summary" (printf "More than 30 %% of the jobs of %s start later than %v s" $queue $level)
      "cure" "5 % may. laneway queues list says what waits. Is the queue at its bound, are its workers ready, are its jobs slower than usual?") | nindent 4 }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayServiceLevelBurnsSlowly" "expr" $slow "for" "15m" "severity" "warning" "labels" $labels
      "summary" (printf "More than 10 %% of the jobs of %s start later than %v s, for hours" $queue $level)
      "cure" "5 % may. The queue needs more slots, a higher bound, or shorter jobs.") | nindent 4 }}
    {{- end }}
    {{- $window := "6h" }}
    {{- with $worker.timeLimitSeconds }}
    {{- $window = printf "%ds" (max 600 (mul 2 (int .))) }}
    {{- end }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayNoWorkers" "for" "5m" "severity" "critical" "labels" $labels
      "expr" (printf "%s > 0 unless on() sum(laneway_concurrency%s) > 0" $backlog $all)
      "summary" (printf "Jobs wait on %s and there is no worker" $queue)
      "cure" (printf "kubectl get deploy,pods -l laneway.dev/queue=%s says what became of them." $queue)) | nindent 4 }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayNothingStarts" "for" "5m" "severity" "critical" "labels" $labels
      "expr" (printf "%s > 0 and on() sum(increase(%s[%s])) == 0" $backlog (printf $kind "started") $window)
      "summary" (printf "Jobs wait on %s, there are workers, and none has started for %s" $queue $window)
      "cure" "Is the queue paused (laneway queues list)? Are the workers ready (/readyz says why not)?") | nindent 4 }}
    {{- $ready := printf "laneway_ready%s" $all }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayNotReady" "for" "1m" "severity" "warning" "labels" $labels
      "expr" (printf "count(max_over_time(%s[15m]) == 0 and %s offset 15m == 0) > 0" $ready $ready)
      "summary" (printf "Workers of %s run, and have taken no jobs for 15 minutes" $queue)
      "cure" (printf "Nothing starts them again: /readyz of the pods of kubectl get pods -l laneway.dev/queue=%s says what they wait for." $queue)) | nindent 4 }}
    {{- if ne $worker.autoscaling.type "none" }}
    {{- $most := mul (int $worker.autoscaling.max) (int $worker.concurrency) }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayScalerUnknown" "for" "10m" "severity" "warning" "labels" $labels
      "expr" (printf "(max(laneway_scaler_known%s) or on() vector(0)) < 1" $all)
      "summary" (printf "The scaler does not know how many slots %s needs" $queue)
      "cure" (printf "The number of its workers stands, or follows the backlog alone. /readyz and /explain/%s of the control process say why." $queue)) | nindent 4 }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayAtMax" "for" "15m" "severity" "warning" "labels" $labels
      "expr" (printf "max(laneway_slots_needed%s) >= %v" $all $most)
      "summary" (printf "%s needs all the %v slots that its bound of %v workers allows, or more" $queue $most $worker.autoscaling.max)
      "cure" "Raise max if the broker and the databases have room for it; else fewer or shorter jobs.") | nindent 4 }}
    {{- end }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayDeadLetters" "for" "0m" "severity" "warning" "labels" $labels
      "expr" (printf "sum(increase(%s[15m])) > 0" (printf $kind "dead_lettered"))
      "summary" (printf "Jobs of %s failed for good in the last 15 minutes" $queue)
      "cure" (printf "laneway dead list --queue %s shows them by cause; replay them when the cause is gone." $queue)) | nindent 4 }}
    {{- if $root.Values.control.enabled }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayLettersWait" "for" "4h" "severity" "warning" "labels" $labels
      "expr" (printf "max(last_over_time(laneway_dead_letters_open%s[15m])) > 0" $all)
      "summary" (printf "Dead letters of %s have waited for hours for somebody to decide" $queue)
      "cure" (printf "laneway dead stats --queue %s says what they failed of. Replay them when the cause is gone, or discard them." $queue)) | nindent 4 }}
    {{- end }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayQuarantined" "for" "0m" "severity" "warning" "labels" $labels
      "expr" (printf "sum(increase(%s[15m])) > 0" (printf $kind "quarantined"))
      "summary" (printf "Messages on %s that no task could be made of" $queue)
      "cure" "A producer speaks another language or a newer one than these workers: see who sent them.") | nindent 4 }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayResultsLost" "for" "0m" "severity" "warning" "labels" $labels
      "expr" (printf "sum(increase(%s[15m])) > 0" (printf $kind "result_lost"))
      "summary" (printf "Jobs of %s ended and their results could not be stored" $queue)
      "cure" "Their jobs did run. Who waits for the results waits in vain: look at the result backend.") | nindent 4 }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayTopologyDrift" "for" "15m" "severity" "warning" "labels" $labels
      "expr" (printf "max(%s) > 0" (printf $kind "topology_drift"))
      "summary" (printf "A worker of %s found the broker not as its policy says" $queue)
      "cure" "laneway topology plan says what differs. It rings until that worker is started again.") | nindent 4 }}
{{- end }}

{{/* What can be wrong with the keeper of one virtual host. Takes root, vhost. */}}
{{- define "laneway.alerts.vhost" -}}
{{- $root := .root }}
{{- $labels := dict "vhost" .vhost }}
{{- $all := printf `{namespace="%s",vhost="%s"}` $root.Release.Namespace .vhost }}
- name: {{ include "laneway.fullname" $root }}-control-{{ .vhost }}
  rules:
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayKeeperNotWorking" "for" "10m" "severity" "critical" "labels" $labels
      "expr" (printf "(max(laneway_keeper_working%s) or on() vector(0)) < 1" $all)
      "summary" (printf "Nobody makes letters of what the broker of %s gives up" .vhost)
      "cure" "Nothing is lost: it waits in the dead inbox. /readyz of the control process says why.") | nindent 4 }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayDeadInboxGrows" "for" "5m" "severity" "warning" "labels" $labels
      "expr" (printf "max(min_over_time(laneway_dead_inbox%s[15m])) > 0" $all)
      "summary" (printf "The dead inbox of %s has not been empty for 20 minutes" .vhost)
      "cure" "The broker gives up more than the keepers take: run more, or stop what is poisonous.") | nindent 4 }}
    {{- include "laneway.alerts.rule" (dict "root" $root "alert" "LanewayLettersHeld" "for" "15m" "severity" "warning" "labels" $labels
      "expr" (printf "max(laneway_keeper_held%s) > 0" $all)
      "summary" (printf "Messages in the dead inbox of %s are too large for a letter" .vhost)
      "cure" "Raise max_message_size of the broker, then restart the control process.") | nindent 4 }}
{{- end }}
