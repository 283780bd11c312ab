{{- /* What the templates have in common. */ -}}

{{- define "datauploader.labels" -}}
app.kubernetes.io/name: datauploader
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- define "datauploader.metadata" -}}
name: {{ .root.Release.Name }}-{{ .name }}
labels:
  {{- include "datauploader.labels" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{- define "datauploader.selector" -}}
matchLabels:
  {{- include "datauploader.labels" . | nindent 2 }}
{{- end -}}

{{- /* The bounds of a pod and of its container. Service links would be taken for settings: DATAUPLOADER_GATEWAY_PORT. */ -}}
{{- define "datauploader.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- end -}}

{{- define "datauploader.container" -}}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
resources:
  requests: {cpu: {{ .values.cpu }}, memory: {{ .values.memory }}}
  limits: {memory: {{ .values.memory }}}
{{- end -}}

{{- /* A variable from the Secret that was made of .env: root, variable, its name there, and "optional" or nothing. */ -}}
{{- define "datauploader.from" -}}
{{- $root := index . 0 -}}
- name: {{ index . 1 }}
  valueFrom: {secretKeyRef: {name: {{ $root.Values.site.environment }}, key: {{ index . 2 }}{{ if gt (len .) 3 }}, optional: true{{ end }}}}
{{- end -}}

{{- /* The broker's address for a user and the variable with the password: root, user, variable. */ -}}
{{- define "datauploader.broker" -}}
{{- $root := index . 0 -}}
{{- $broker := $root.Values.broker -}}
{{- $where := $broker.address | default (printf "%s-rabbitmq:5672" $root.Release.Name) -}}
{{ if and $broker.address $broker.tls }}amqps{{ else }}amqp{{ end }}://{{ index . 1 }}:$({{ index . 2 }})@{{ $where }}/%2F
{{- end -}}

{{- define "datauploader.environment" -}}
- name: DATAUPLOADER_CONFIG
  value: /etc/datauploader/datauploader.toml
- name: DATAUPLOADER_REGISTRATIONS
  value: /etc/datauploader/registrations.json
{{ include "datauploader.from" (list . "DATAUPLOADER_FACILITY" "FACILITY") }}
{{ include "datauploader.from" (list . "DATAUPLOADER_BEAMLINE" "BEAMLINE") }}
{{ include "datauploader.from" (list . "DATAUPLOADER_STATION" "STATION") }}
{{ include "datauploader.from" (list . "DATAUPLOADER_TIMEZONE" "TIMEZONE" "optional") }}
- name: DATAUPLOADER_LOG_LEVEL
  value: {{ .Values.logLevel }}
- name: DATAUPLOADER_LOG_JSON
  value: "true"
- name: DATAUPLOADER_HEALTH_HOST
  value: 0.0.0.0
- name: SSL_CERT_FILE
  value: {{ .Values.caFile }}
{{ include "datauploader.from" (list . "OTEL_EXPORTER_OTLP_ENDPOINT" "OTEL_EXPORTER_OTLP_ENDPOINT" "optional") }}
{{- end -}}

{{- /*
A service of ours. `values` is its part of values.yaml, `env` its variables, `ports`, `volumes` and `mounts` what it has beside
the common ones. Whoever keeps a state is one: the new pod waits until the old one has gone.
*/ -}}
{{- define "datauploader.service" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "datauploader.metadata" . | nindent 2 }}
spec:
  replicas: {{ .values.replicas | default 1 }}
  {{- if .values.size }}
  strategy: {type: Recreate}
  {{- end }}
  selector:
    {{- include "datauploader.selector" . | nindent 4 }}
  template:
    metadata:
      labels:
        {{- include "datauploader.labels" . | nindent 8 }}
    spec:
      {{- include "datauploader.pod" (dict "root" .root "user" 10001) | nindent 6 }}
      terminationGracePeriodSeconds: 15
      containers:
        - name: {{ .name }}
          image: {{ .root.Values.images.registry }}{{ .values.image }}:{{ .root.Values.images.tag }}
          {{- include "datauploader.container" . | nindent 10 }}
          {{- with .args }}
          args: {{ toJson . }}
          {{- end }}
          env:
            {{- include "datauploader.environment" .root | nindent 12 }}
            {{- .env | nindent 12 }}
          ports:
            - {name: health, containerPort: 9464}
            {{- with .ports }}
            {{- . | nindent 12 }}
            {{- end }}
          startupProbe:
            httpGet: {path: /live, port: health}
            periodSeconds: 3
            failureThreshold: 40
          livenessProbe:
            httpGet: {path: /live, port: health}
            timeoutSeconds: 5
          readinessProbe:
            httpGet: {path: /ready, port: health}
            timeoutSeconds: 5
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            - {name: config, mountPath: /etc/datauploader, readOnly: true}
            {{- if .values.size }}
            - {name: state, mountPath: /state}
            {{- end }}
            {{- with .mounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - {name: tmp, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
        - {name: config, configMap: {name: {{ .root.Values.site.config }}}}
        {{- if .values.size }}
        - {name: state, persistentVolumeClaim: {claimName: {{ .root.Release.Name }}-{{ .name }}}}
        {{- end }}
        {{- with .volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- if .values.size }}
---
# The state outlives `helm uninstall`.
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "datauploader.metadata" . | nindent 2 }}
  annotations: {helm.sh/resource-policy: keep}
spec:
  {{- include "datauploader.claim" . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "datauploader.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .root.Values.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources: {requests: {storage: {{ .values.size }}}}
{{- end -}}
