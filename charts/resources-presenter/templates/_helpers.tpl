{{- define "presenter.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* The Deployments there are: a list of names, as JSON. */}}
{{- define "presenter.components" -}}
{{- if eq .Values.mode "split" }}["watch", "serve"]{{ else }}["run"]{{ end -}}
{{- end -}}

{{/* The one that answers requests. */}}
{{- define "presenter.server" -}}
{{- if eq .Values.mode "split" }}serve{{ else }}run{{ end -}}
{{- end -}}

{{/* The names below take (list $ COMPONENT). */}}
{{- define "presenter.componentName" -}}
{{ include "presenter.name" (first .) }}{{ if ne (last .) "run" }}-{{ last . }}{{ end }}
{{- end -}}

{{/* Who watches reads the cluster; who only serves asks it for reviews, or nothing. */}}
{{- define "presenter.account" -}}
{{ include "presenter.name" (first .) }}{{ if eq (last .) "serve" }}-serve{{ end }}
{{- end -}}

{{- define "presenter.selector" -}}
app.kubernetes.io/name: {{ (first .).Chart.Name }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{- define "presenter.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "presenter.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- define "presenter.asksReviews" -}}
{{- if eq (.Values.config.AUTHORIZER | default "rbac") "sar" }}true{{ end -}}
{{- end -}}

{{/* The Secret with the token that scrapes send: a given one, else one that comes with the ServiceMonitor. */}}
{{- define "presenter.metricsSecret" -}}
{{- if .Values.metrics.tokenSecret.name }}{{ .Values.metrics.tokenSecret.name }}
{{- else if and .Values.metrics.serviceMonitor.enabled (ne (.Values.config.ANONYMOUS_METRICS | default false | toString) "true") }}{{ include "presenter.name" . }}-metrics
{{- end -}}
{{- end -}}

{{- define "presenter.publishedKeys" -}}
{{- if or .Values.config.JWKS_URL .Values.config.OIDC_ISSUER }}true{{ end -}}
{{- end -}}

{{/* Whether the database comes with the release. It is not there yet when hooks run, so the pods migrate it. */}}
{{- define "presenter.ownDatabase" -}}
{{- if or .Values.postgres.enabled .Values.cnpg.enabled }}true{{ end -}}
{{- end -}}

{{/* The Secret with the database's user, as JSON: its name and its keys. Takes (list $ COMPONENT). */}}
{{- define "presenter.dbSecret" -}}
{{- $component := last . -}}
{{- with first . -}}
{{- if and (eq $component "serve") .Values.dbReadSecret.name -}}
{{ toJson .Values.dbReadSecret }}
{{- else if .Values.dbSecret.name -}}
{{ toJson .Values.dbSecret }}
{{- else if .Values.postgres.enabled -}}
{{ toJson (merge (dict "name" (printf "%s-postgres" (include "presenter.name" .))) .Values.dbSecret) }}
{{- else if not .Values.cnpg.enabled -}}
{{ toJson (merge (dict "name" "krateo-db") .Values.dbSecret) }}
{{- else -}}
{{ toJson (dict "name" (printf "%s-db-app" (include "presenter.name" .)) "userKey" "username" "passwordKey" "password") }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The port of a URL; nothing for what is none. */}}
{{- define "presenter.portOf" -}}
{{- if regexMatch "^https?://" . -}}
{{ regexFind "[0-9]+$" (regexFind ":[0-9]+$" (urlParse .).host) | default (ternary 443 80 (hasPrefix "https:" .)) }}
{{- end -}}
{{- end -}}
