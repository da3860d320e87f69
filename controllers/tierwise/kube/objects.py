"""Names the objects, labels and annotations of Kubernetes and KServe that more than one room speaks of.

Constants alone: the renderers and the readers use them, and neither may know a client.
"""

from __future__ import annotations

KSERVE_API = "serving.kserve.io/v1beta1"
APPS_API = "apps/v1"
INFERENCE_SERVICES = "inferenceservices"
DEPLOYMENTS = "deployments"
PREDICTOR_SUFFIX = "-predictor"  # KServe's name for the Deployment and the Service of an InferenceService

FIELD_MANAGER = "tierwise"
MANAGED_BY_LABEL, MANAGED_BY = "app.kubernetes.io/managed-by", "tierwise"
TIER_LABEL = "tierwise.io/tier"
SELECT_OURS = f"{MANAGED_BY_LABEL}={MANAGED_BY}"

AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"
DEPLOYMENT_MODE = "serving.kserve.io/deploymentMode"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
