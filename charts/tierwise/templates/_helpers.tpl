{{/* Names, labels and the few values that several templates need. */}}

{{- define "tierwise.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "tierwise.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "tierwise.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tierwise.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tierwise.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tierwise.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "tierwise.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tierwise.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tierwise.labels" -}}
{{ include "tierwise.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: tierwise
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "tierwise.image" -}}
{{- $repository := required (join "\n" (list
  "image.repository is required: there is no public image of the operator yet."
  "  1. make image                      # builds it (or: docker build -f runtime-images/operator/Dockerfile .)"
  "  2. push it to a registry that your nodes can pull from"
  "  3. helm upgrade --install tierwise charts/tierwise --namespace tierwise-system --create-namespace --set image.repository=REGISTRY/tierwise/operator"
)) .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The image of the routers of ModelRoutes: the operator's own, unless router.image says otherwise. */}}
{{- define "tierwise.routerImage" -}}
{{- with .Values.router.image -}}
{{- if not .repository -}}
{{- include "tierwise.image" $ -}}
{{- else if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tierwise.routerRole" -}}
{{- printf "%s-router" (include "tierwise.fullname" .) | trunc 63 -}}
{{- end -}}

{{/* restricted, as the Pod Security Standards call it */}}
{{- define "tierwise.podSecurityContext" -}}
runAsNonRoot: true
{{- if eq .Values.securityContext "Fixed" }}
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "tierwise.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What the operator does in a namespace whose tiers it serves: the verbs that its code uses, and no others. */}}
{{- define "tierwise.rules" -}}
- apiGroups: [tierwise.io]
  resources: [modeltiers, modelroutes]
  verbs: [get, list, watch]
- apiGroups: [tierwise.io]
  resources: [modeltiers/status, modelroutes/status]
  verbs: [patch]
- apiGroups: [serving.kserve.io]
  resources: [inferenceservices]
  verbs: [get, list, watch, create, patch]
# create, patch: the routers of ModelRoutes; the engines' Deployments are KServe's
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
# A router's rights are those of one ClusterRole of this chart: the operator binds it, and can write no role.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  verbs: [get, list, watch, create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles]
  resourceNames: [{{ include "tierwise.routerRole" . }}]
  verbs: [bind]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
# patch: replicas of a former spec that never answered are ended, so that they hold no GPU
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [replicasets/scale]
  verbs: [patch]
# patch: the deletion cost, so that a scale-down ends the replica with the fewest running requests
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
# only to see that somebody else scales the same Deployment
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* Whether nodes are watched: as said, else where all namespaces are served. "true" or "" */}}
{{- define "tierwise.watchNodes" -}}
{{- if kindIs "invalid" .Values.watch.nodes -}}
{{- if not .Values.watch.namespaces -}}true{{- end -}}
{{- else if .Values.watch.nodes -}}
true
{{- end -}}
{{- end -}}

{{/* Whether GPUPools are served: as said, else where all namespaces are served. "true" or "" */}}
{{- define "tierwise.watchPools" -}}
{{- if kindIs "invalid" .Values.watch.pools -}}
{{- if not .Values.watch.namespaces -}}true{{- end -}}
{{- else if .Values.watch.pools -}}
true
{{- end -}}
{{- end -}}

{{/* "true" or "" */}}
{{- define "tierwise.podMonitor" -}}
{{- if or (eq (toString .Values.podMonitor.enabled) "true")
       (and (eq (toString .Values.podMonitor.enabled) "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PodMonitor")) -}}
true
{{- end -}}
{{- end -}}

{{/* "true" or "" */}}
{{- define "tierwise.prometheusRule" -}}
{{- if or (eq (toString .Values.prometheusRule.enabled) "true")
       (and (eq (toString .Values.prometheusRule.enabled) "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PrometheusRule")) -}}
true
{{- end -}}
{{- end -}}

{{/* The hub as engines reach it, or "" for the engine's own choice */}}
{{- define "tierwise.engineHub" -}}
{{- if not (kindIs "invalid" .Values.hub.engineURL) -}}
{{- .Values.hub.engineURL -}}
{{- else if ne (trimSuffix "/" .Values.hub.url) "https://huggingface.co" -}}
{{- .Values.hub.url -}}
{{- end -}}
{{- end -}}

{{/* The file in the pod that holds the bearer token for Prometheus, or "" */}}
{{- define "tierwise.bearerTokenFile" -}}
{{- with .Values.prometheus -}}
{{- if and .basicAuthSecret.name (or .bearerTokenSecret.name .bearerTokenFile) -}}
{{- fail "set prometheus.basicAuthSecret.name or a bearer token, not both" -}}
{{- else if and .bearerTokenSecret.name .bearerTokenFile -}}
{{- fail "set prometheus.bearerTokenSecret.name or prometheus.bearerTokenFile, not both" -}}
{{- else if .bearerTokenSecret.name -}}
/etc/tierwise/prometheus-token/{{ .bearerTokenSecret.key }}
{{- else -}}
{{- .bearerTokenFile -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Other installations of Tierwise that would serve the same namespaces: a line for each; "" without a cluster. What is
     looked up, whoever may install this may also read: for named namespaces nothing outside them. */}}
{{- define "tierwise.others" -}}
{{- $me := include "tierwise.fullname" . -}}
{{- $here := .Release.Namespace -}}
{{- range $namespace := .Values.watch.namespaces | uniq | sortAlpha }}
{{- range (lookup "rbac.authorization.k8s.io/v1" "RoleBinding" $namespace "").items }}
{{- $subject := index (.subjects | default (list (dict))) 0 }}
{{- if and (eq (dig "metadata" "labels" "tierwise.io/installation" "" .) "namespaces") (not (and (eq .metadata.name $me) (eq ($subject.namespace | default "") $here))) }}
     {{ $subject.namespace }}/{{ .metadata.name }} serves {{ $namespace }} as well
{{- end }}
{{- end }}
{{- end }}
{{- if not .Values.watch.namespaces }}
{{- range (lookup "apps/v1" "Deployment" "" "").items }}
{{- if and (eq (dig "metadata" "labels" "tierwise.io/installation" "" .) "cluster") (not (and (eq .metadata.name $me) (eq .metadata.namespace $here))) }}
     {{ .metadata.namespace }}/{{ .metadata.name }} serves all namespaces
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
