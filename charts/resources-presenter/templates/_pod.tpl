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

{{/* What all containers need: the plain settings, and the database with its user. */}}
{{- define "presenter.env" -}}
{{- $name := include "presenter.name" . -}}
{{- $config := deepCopy .Values.config -}}
{{- if include "presenter.ownDatabase" . -}}
  {{- if and .Values.postgres.enabled .Values.cnpg.enabled -}}
    {{- fail "postgres.enabled and cnpg.enabled are both set: set one of them" -}}
  {{- end -}}
  {{- range list "DB_HOST" "DB_PORT" "DB_NAME" -}}
    {{- if hasKey $config . -}}
      {{- fail (printf "config.%s is of your own PostgreSQL: leave it out, or unset postgres.enabled and cnpg.enabled" .) -}}
    {{- end -}}
  {{- end -}}
  {{- $_ := set $config "DB_HOST" (printf "%s-%s" $name (ternary "postgres" "db-rw" .Values.postgres.enabled)) -}}
  {{- $_ := set $config "DB_NAME" "resources" -}}
{{- end -}}
{{- $_ := required "config.DB_HOST is the host of your PostgreSQL: set it, or postgres.enabled or cnpg.enabled" $config.DB_HOST -}}
{{- range $variable, $value := $config }}
- name: {{ $variable }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- $named := .Values.dbSecret.name }}
{{- $generated := and .Values.cnpg.enabled (not $named) }}
{{ include "presenter.fromSecret" (list "DB_USER" (include "presenter.dbSecret" .) (ternary "username" .Values.dbSecret.userKey $generated)) -}}
{{ include "presenter.fromSecret" (list "DB_PASS" (include "presenter.dbSecret" .) (ternary "password" .Values.dbSecret.passwordKey $generated)) -}}
{{- with .Values.extraEnv }}
{{- toYaml . }}
{{ end }}
{{- end -}}

{{/* What verifies tokens and signs cursors. */}}
{{- define "presenter.keys" -}}
{{- if .Values.signKeySecret.name }}
{{- include "presenter.fromSecret" (list "SIGN_KEY" .Values.signKeySecret.name .Values.signKeySecret.key) }}
{{- else if not (include "presenter.publishedKeys" .) }}
  {{- fail "signKeySecret.name is an existing Secret with the key that signs tokens: set it, or config.JWKS_URL or config.OIDC_ISSUER" }}
{{- else if not .Values.cursorKeySecret.name }}
  {{- fail "cursorKeySecret.name is an existing Secret with a random key that signs cursors: without signKeySecret.name, set it" }}
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
args: [migrate]
env:
  {{- include "presenter.env" . | trim | nindent 2 }}
resources:
  requests: {cpu: 50m, memory: 96Mi}
  limits: {memory: 256Mi}
{{ include "presenter.container" . }}
{{- end -}}
