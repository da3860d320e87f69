"""Defines the reasons about a route that no tier has."""

from __future__ import annotations

from tierwise.reasons.table import ACCEPTED, METRICS_AVAILABLE, PROVISIONED, READY, reason

TIER_NOT_FOUND = reason(
    "TierNotFound",
    (ACCEPTED,),
    "spec.tiers of a route names a ModelTier that does not exist; the other tiers are served.",
    "Create it, or remove it from spec.tiers.",
)
MODEL_NAME_TAKEN = reason(
    "ModelNameTaken",
    (ACCEPTED,),
    "An older ModelRoute of the namespace has one of the model names of this one.",
    "Choose other modelNames, or delete one of the two routes.",
)
CASCADE_EXPERIMENTAL = reason(
    "CascadeExperimental",
    (ACCEPTED,),
    "The route is served; its policy Cascade is experimental: how well the first tokens of an answer tell whether it "
    "is right is not known for this traffic.",
    "Begin with policy.mode Shadow and compare the decisions in the access log with verdicts of your own "
    "(docs/cascade.md).",
)
ROUTER_EXISTS = reason("RouterExists", (PROVISIONED,), "All objects of the route exist as rendered.")
ROUTER_IMAGE_MISSING = reason(
    "RouterImageMissing",
    (PROVISIONED,),
    "The operator was not told which image the routers run.",
    "Set the chart value router.image.repository, or image.repository.",
)
ROUTER_STUCK = reason(
    "RouterStuck",
    (PROVISIONED,),
    "A router does not start; those that run serve on.",
    "Look at the pod that the message names: its image, the nodes, its last line.",
)
ROUTERS_SCALED = reason(
    "RoutersScaled",
    (PROVISIONED,),
    "A HorizontalPodAutoscaler or ScaledObject scales the Deployment of the routers; the operator sets it back.",
    "Delete it, and set spec.replicas of the route.",
)
ROUTER_STARTING = reason(
    "RouterStarting",
    (READY,),
    "No router is ready yet.",
    "If it lasts, look at the condition Provisioned and at the pods of the route.",
)
TIERS_STARTING = reason(
    "TiersStarting",
    (READY,),
    "The routers answer, and no tier of the route does yet: replicas start.",
    "If it lasts, look at its ModelTiers.",
)
NO_TIER_READY = reason(
    "NoTierReady", (READY,), "The routers answer, and no tier of the route does.", "Look at its ModelTiers."
)
ROUTE_READY = reason(
    "RouteReady", (READY,), "The routers and all tiers of the route answer; one at zero does when it has started."
)
SOME_TIERS_READY = reason(
    "SomeTiersReady",
    (READY,),
    "Some tiers of the route do not answer; requests for them wait, or go to another tier.",
    "Look at the ModelTiers that the message names.",
)
ROUTERS_NOT_MEASURED = reason(
    "RoutersNotMeasured",
    (METRICS_AVAILABLE,),
    "Prometheus has no fresh series of routers of a route: what they spend is not known. With a budget no lease grows, "
    "so external tiers stop answering (budget_spent) when a lease is used up; without one only columns are empty.",
    "Check that Prometheus selects the PodMonitor of the routers (chart values podMonitor.enabled, podMonitor.labels).",
)
BUDGET_SPENT = reason(
    "BudgetSpent",
    (READY,),
    "The budget of the route is spent, or so nearly that no more is handed out; its external tiers get no request "
    "until the period ends.",
    "Wait, or raise spec.budget.amount.",
)
