{{/* Labels of every object; `part` is proxy, kbs or guest. */}}
{{- define "hanzo.selector" -}}
app.kubernetes.io/name: hanzo
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}
{{- define "hanzo.labels" -}}
{{ include "hanzo.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{/* Pods that hold no token of the cluster and run as nobody's user. */}}
{{- define "hanzo.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
hostUsers: {{ .hostUsers }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  {{- with .group }}
  supplementalGroups: [{{ . }}]
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "hanzo.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* What is asked for is what is allowed: no pod of ours is overcommitted. */}}
{{- define "hanzo.resources" -}}
resources:
  requests:
    cpu: {{ .cpu | quote }}
    memory: {{ .memory | quote }}
    ephemeral-storage: 64Mi
  limits:
    cpu: {{ .cpu | quote }}
    memory: {{ .memory | quote }}
    ephemeral-storage: 64Mi
{{- end }}
