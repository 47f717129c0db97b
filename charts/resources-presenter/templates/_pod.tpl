{{/* What all pods have in common, and their containers' environment. */}}

{{- define "presenter.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "presenter.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "presenter.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.extraVolumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "presenter.fromSecret" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 | quote }}
      key: {{ index . 2 | quote }}
{{ end -}}

{{/* What all containers need: the plain settings, and the database with its user. Takes (list $ COMPONENT). */}}
{{- define "presenter.env" -}}
{{- $secret := include "presenter.dbSecret" . | fromJson -}}
{{- with first . -}}
{{- $config := deepCopy .Values.config -}}
{{- if include "presenter.ownDatabase" . -}}
  {{- $host := printf "%s-%s" (include "presenter.name" .) (ternary "postgres" "db-rw" .Values.postgres.enabled) -}}
  {{- $config = merge (dict "DB_HOST" $host "DB_NAME" "resources") $config -}}
{{- end -}}
{{- range $variable, $value := $config }}
- name: {{ $variable }}
  value: {{ ternary ($value | int64) $value (kindIs "float64" $value) | toString | quote }}
{{- end }}
{{ include "presenter.fromSecret" (list "DB_USER" $secret.name $secret.userKey) -}}
{{ include "presenter.fromSecret" (list "DB_PASS" $secret.name $secret.passwordKey) -}}
{{- with .Values.extraEnv }}
{{- toYaml . }}
{{ end }}
{{- end -}}
{{- end -}}

{{/* What verifies tokens and signs cursors. */}}
{{- define "presenter.keys" -}}
{{- if .Values.signKeySecret.name }}
{{- include "presenter.fromSecret" (list "SIGN_KEY" .Values.signKeySecret.name .Values.signKeySecret.key) }}
{{- end }}
{{- with .Values.jwtSignKeySecret }}
{{- if .name }}
{{- include "presenter.fromSecret" (list "JWT_SIGN_KEY" .name .key) }}
{{- end }}
{{- end }}
{{- with .Values.cursorKeySecret }}
{{- if .name }}
{{- include "presenter.fromSecret" (list "CURSOR_KEY" .name .key) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "presenter.container" -}}
image: {{ include "presenter.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "presenter.securityContext" . | nindent 2 }}
{{- with .Values.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "presenter.migrate" -}}
name: migrate
args: {{ toJson (ternary (list "migrate" "--reader" "$(READER)") (list "migrate") (not (empty .Values.dbReadSecret.name))) }}
env:
  {{- include "presenter.env" (list . "migrate") | trim | nindent 2 }}
  {{- with .Values.dbReadSecret }}
  {{- if .name }}
  # Named in the arguments: the role that only reads.
  {{- include "presenter.fromSecret" (list "READER" .name .userKey) | trim | nindent 2 }}
  {{- end }}
  {{- end }}
resources:
  requests: {cpu: 50m, memory: 96Mi}
  limits: {memory: 256Mi}
{{ include "presenter.container" . }}
{{- end -}}
