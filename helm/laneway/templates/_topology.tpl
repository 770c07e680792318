{{/* What the Job of the topology does. A Job cannot be changed, so its name carries a digest of this:
(dict "root" $ "broker" as of laneway.brokerEnv "account" name). */}}
{{- define "laneway.topologyJob" -}}
{{- $topology := .root.Values.topology -}}
backoffLimit: {{ int $topology.backoffLimit }}
{{- if not (kindIs "invalid" $topology.ttlSecondsAfterFinished) }}
ttlSecondsAfterFinished: {{ int $topology.ttlSecondsAfterFinished }}
{{- end }}
template:
  metadata:
    labels:
      {{- include "laneway.podLabels" (dict "root" .root "component" "topology" "more" $topology.podLabels) | nindent 6 }}
    annotations:
      checksum/config: {{ include "laneway.checksum" .broker }}
      {{- with $topology.podAnnotations }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  spec:
    {{- with include "laneway.imagePullSecrets" .root }}
    {{- . | nindent 4 }}
    {{- end }}
    restartPolicy: OnFailure
    serviceAccountName: {{ .account }}
    automountServiceAccountToken: {{ $topology.serviceAccount.automountToken }}
    enableServiceLinks: false
    terminationGracePeriodSeconds: 30
    securityContext:
      {{- toYaml .root.Values.workerDefaults.podSecurityContext | nindent 6 }}
    {{- with include "laneway.placement" $topology | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    containers:
      - name: topology
        image: {{ include "laneway.image" (dict "root" .root) }}
        imagePullPolicy: {{ include "laneway.imagePullPolicy" (dict "root" .root) }}
        command:
          - laneway
          - topology
          - apply
          - --yes
          - --wait={{ int $topology.waitSeconds }}
        env:
          {{- include "laneway.brokerEnv" .broker | trim | nindent 10 }}
          {{- with include "laneway.ownEnv" $topology | trim }}
          {{- . | nindent 10 }}
          {{- end }}
        {{- with $topology.extraEnvFrom }}
        envFrom:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        securityContext:
          {{- toYaml .root.Values.workerDefaults.securityContext | nindent 10 }}
        resources:
          {{- toYaml $topology.resources | nindent 10 }}
        volumeMounts:
          {{- include "laneway.mounts" .root | nindent 10 }}
          {{- with $topology.extraVolumeMounts }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
    volumes:
      {{- include "laneway.volumes" (dict "root" .root "size" "64Mi") | nindent 6 }}
      {{- with $topology.extraVolumes }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
{{- end }}
