{{- define "sctp-agent.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | replace "." "-" | trunc 29 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{- /* The name of the auditor's objects. */ -}}
{{- define "sctp-agent.auditor" -}}
{{- $name := include "sctp-agent.fullname" . -}}
{{- if eq $name "sctp-agent" -}}sctp-auditor{{- else -}}{{ $name }}-auditor{{- end -}}
{{- end -}}

{{- /* The name of the mesh's objects. A Service's begins with a letter. */ -}}
{{- define "sctp-agent.mesh" -}}
{{- $name := include "sctp-agent.fullname" . -}}
{{- if eq $name "sctp-agent" -}}sctp-mesh{{- else -}}{{ if regexMatch "^[0-9]" $name }}sctp-{{ end }}{{ $name }}-mesh{{- end -}}
{{- end -}}

{{- define "sctp-agent.meshSelector" -}}
app.kubernetes.io/name: sctp-mesh
app.kubernetes.io/component: mesh
{{- end -}}

{{- define "sctp-agent.meshLabels" -}}
{{ include "sctp-agent.meshSelector" . }}
app.kubernetes.io/part-of: sctp-agent
{{- end -}}

{{- /* The label prefix, with its slash: --prefix takes it with and without. */ -}}
{{- define "sctp-agent.prefix" -}}
{{- trimSuffix "/" .Values.labelPrefix }}/
{{- end -}}

{{- /* What Helm's charts put on each object. Not on the pods: a new chart with the
same agent would replace them. */ -}}
{{- define "sctp-agent.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "sctp-agent.selector" -}}
app.kubernetes.io/name: sctp-agent
app.kubernetes.io/component: agent
{{- end -}}

{{- /* image (dict "image" .Values.image "root" $) */ -}}
{{- define "sctp-agent.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* The objects of a file of manifests/, with this release's names, account and
prefix: manifest (dict "file" "files/….yaml" "root" $). One text is reviewed
and tested for both ways to install. */ -}}
{{- define "sctp-agent.manifest" -}}
{{- $root := .root -}}
{{- $name := include "sctp-agent.fullname" $root -}}
{{- $prefix := include "sctp-agent.prefix" $root -}}
{{- $account := printf "system:serviceaccount:%s:%s" $root.Release.Namespace $name -}}
{{- $text := $root.Files.Get .file | required (printf "%s is missing from the chart" .file) -}}
{{- $text = $text | replace "system:serviceaccount:sctp-agent:sctp-agent" $account -}}
{{- /* In a jsonpath, the dots of a key are escaped. */ -}}
{{- $text = $text | replace ".metadata.annotations.sctp-agent/" (printf ".metadata.annotations.%s" ($prefix | replace "." "\\.")) -}}
{{- $text = $text | replace "sctp-agent/" $prefix -}}
{{- range $text := splitList "\n---\n" $text }}
{{- $object := fromYaml $text }}
{{- if $object.Error }}{{ fail $object.Error }}{{ end }}
{{- $metadata := $object.metadata }}
{{- $_ := set $metadata "name" ($metadata.name | replace "sctp-agent" $name) }}
{{- if $metadata.namespace }}{{ $_ := set $metadata "namespace" $root.Release.Namespace }}{{ end }}
{{- if $object.spec.policyName }}{{ $_ := set $object.spec "policyName" ($object.spec.policyName | replace "sctp-agent" $name) }}{{ end }}
{{- $_ := set $metadata "labels" (merge (fromYaml (include "sctp-agent.labels" $root)) ($.labels | default dict) ($metadata.labels | default dict)) }}
---
{{ toYaml $object }}
{{- end }}
{{- end -}}

{{- /* What "kubectl sctp audit" reads. */ -}}
{{- define "sctp-agent.auditorRules" -}}
- apiGroups: [""]
  resources: ["nodes", "pods", "services"]
  verbs: ["list"]
- apiGroups: ["discovery.k8s.io"]
  resources: ["endpointslices"]
  verbs: ["list"]
- apiGroups: ["networking.k8s.io"]
  resources: ["networkpolicies"]
  verbs: ["list"]
- apiGroups: [""]
  resources: ["configmaps"]
  resourceNames: ["cilium-config", "kube-proxy"]
  verbs: ["get"]
- apiGroups: ["machineconfiguration.openshift.io"]
  resources: ["machineconfigpools"]
  verbs: ["list"]
- apiGroups: ["machineconfiguration.openshift.io"]
  resources: ["machineconfigs"]
  verbs: ["get"]
{{- end -}}

{{- /* The pod of an audit: auditPod (dict "account" … "root" $) */ -}}
{{- define "sctp-agent.auditPod" -}}
serviceAccountName: {{ .account }}
restartPolicy: Never
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile: {type: RuntimeDefault}
containers:
  - name: audit
    image: {{ include "sctp-agent.image" (dict "image" .root.Values.cliImage "root" .root) | quote }}
    {{- if ne .root.Values.cliImage.pullPolicy "IfNotPresent" }}
    imagePullPolicy: {{ .root.Values.cliImage.pullPolicy }}
    {{- end }}
    args:
      - audit
      - --fail-on={{ .root.Values.auditor.failOn }}
      {{- if ne (include "sctp-agent.prefix" .root) "sctp-agent/" }}
      - --prefix={{ include "sctp-agent.prefix" .root }}
      {{- end }}
    resources: {{ toYaml .root.Values.auditor.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
{{- end -}}
