"""Names the objects, labels and annotations of Kubernetes and KServe that more than one room speaks of.

Constants alone: the renderers and the readers use them, and neither may know a client.
"""

from __future__ import annotations

# What was rendered, as a digest: a field that is no longer rendered shows here and nowhere else.
from tierwise.pod_template_hash import RENDERED as RENDERED

KSERVE_API = "serving.kserve.io/v1beta1"
APPS_API = "apps/v1"
INFERENCE_SERVICES = "inferenceservices"
DEPLOYMENTS = "deployments"
REPLICA_SETS = "replicasets"
PREDICTOR_SUFFIX = "-predictor"  # KServe's name for the Deployment and the Service of an InferenceService

FIELD_MANAGER = "tierwise"
MANAGED_BY_LABEL, MANAGED_BY = "app.kubernetes.io/managed-by", "tierwise"
TIER_LABEL = "tierwise.io/tier"
ROUTE_LABEL = "tierwise.io/route"
SELECT_OURS = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
SELECT_ROUTERS = f"{SELECT_OURS},{ROUTE_LABEL}"
SELECT_ENGINES = f"{SELECT_OURS},{TIER_LABEL}"

ROUTER_SUFFIX = "-router"  # of what is made for a route, but for its Service, which has the route's own name
SERVICES, SERVICE_ACCOUNTS, ROLE_BINDINGS = "services", "serviceaccounts", "rolebindings"
DISRUPTION_BUDGETS = "poddisruptionbudgets"
# What is made for a route: API version and kind, by plural, in the order in which one needs the other.
ROUTER_CHILDREN = {
    SERVICE_ACCOUNTS: ("v1", "ServiceAccount"),
    ROLE_BINDINGS: ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    SERVICES: ("v1", "Service"),
    DISRUPTION_BUDGETS: ("policy/v1", "PodDisruptionBudget"),
    DEPLOYMENTS: (APPS_API, "Deployment"),
}
# Where a router finds the keys of providers, the hashes of client keys and the weights of a classifier.
ROUTER_SECRETS = "/etc/tierwise"
PROVIDERS, CLIENTS, TLS, SALT = "providers", "clients", "tls", "salt"
CLASSIFIER, CLASSIFIER_KEY = "classifier", "classifier.bin"  # the folder, and the entry of the ConfigMap
TLS_CERTIFICATE, TLS_KEY = "tls.crt", "tls.key"  # the entries of a Secret of type kubernetes.io/tls

AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"
DEPLOYMENT_MODE = "serving.kserve.io/deploymentMode"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
REVISION = "deployment.kubernetes.io/revision"
