{{/* What values cannot be together, and what is missing. Everything that is wrong is said at once, and here alone. */}}
{{- define "presenter.checks" -}}
{{- $wrong := list -}}
{{- $own := include "presenter.ownDatabase" . -}}
{{- if and .Values.postgres.enabled .Values.cnpg.enabled -}}
  {{- $wrong = append $wrong "postgres.enabled and cnpg.enabled are both set: set one of them" -}}
{{- end -}}
{{- if $own -}}
  {{- range list "DB_HOST" "DB_PORT" "DB_NAME" -}}
    {{- if hasKey $.Values.config . -}}
      {{- $wrong = append $wrong (printf "config.%s is of your own PostgreSQL: leave it out, or unset postgres.enabled and cnpg.enabled" .) -}}
    {{- end -}}
  {{- end -}}
{{- else -}}
  {{- if not .Values.config.DB_HOST -}}
    {{- $wrong = append $wrong "config.DB_HOST is the host of your PostgreSQL: set it, or postgres.enabled or cnpg.enabled" -}}
  {{- end -}}
{{- end -}}
{{- if .Values.dbReadSecret.name -}}
  {{- if ne .Values.mode "split" -}}
    {{- $wrong = append $wrong "dbReadSecret is for pods that only serve: set mode=split" -}}
  {{- end -}}
  {{- if .Values.postgres.enabled -}}
    {{- $wrong = append $wrong "dbReadSecret names a role that is there already: leave it out with postgres.enabled" -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.config.DB_READ_PORT (not .Values.config.DB_READ_HOST) -}}
  {{- $wrong = append $wrong "config.DB_READ_PORT is of config.DB_READ_HOST: set that, too" -}}
{{- end -}}
{{- if not (or .Values.signKeySecret.name .Values.jwtSignKeySecret.name) -}}
  {{- if not (include "presenter.publishedKeys" .) -}}
    {{- $wrong = append $wrong "signKeySecret.name is an existing Secret with the key that signs tokens: set it or jwtSignKeySecret.name, or config.JWKS_URL or config.OIDC_ISSUER" -}}
  {{- else if not .Values.cursorKeySecret.name -}}
    {{- $wrong = append $wrong "cursorKeySecret.name is an existing Secret with a random key that signs cursors: without signKeySecret.name or jwtSignKeySecret.name, set it" -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.config.JWKS_URL .Values.config.OIDC_ISSUER -}}
  {{- $wrong = append $wrong "config.JWKS_URL and config.OIDC_ISSUER are both set: set one of them" -}}
{{- end -}}
{{- if $wrong -}}
  {{- fail (join "\n" (prepend $wrong "")) -}}
{{- end -}}
{{- end -}}
