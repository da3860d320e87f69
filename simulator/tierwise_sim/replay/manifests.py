"""Reads what is applied to a cluster into what is simulated: tiers with their engines, and the route over them.

The manifests are read by the operator's own readers, with its defaults; the engine of a replica is started with the
very arguments that the operator renders, so what the engine would refuse is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tierwise.api.kinds import GPU_POOL, MODEL_ROUTE, MODEL_TIER
from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import MODEL_PATH, arguments, profile
from tierwise.errors import Invalid
from tierwise.observe.route_object import route_object
from tierwise.observe.tier_object import tier_object
from tierwise_sim import flags
from tierwise_sim.config import SimConfig, build_settings
from tierwise_sim.replay.pooled import GPU_LABEL, placed
from tierwise_sim.replay.scenario import STARTUP_SECONDS, ExternalTier, ServedTier, Tier
from tierwise_sim.roofline import Roofline
from tierwise_sim.settings import EngineSettings, StartupError
from tierwise_sim.step_time import StepSource

_KINDS = (MODEL_TIER.name, MODEL_ROUTE.name, GPU_POOL.name)


Steps = Callable[[str, EngineSettings], StepSource]


def plain_roofline(tier: str, settings: EngineSettings) -> StepSource:
    """Step times of which only the GPU's data sheet is known."""
    return StepSource(Roofline(settings), "roofline", "the GPU's data sheet and two efficiencies")


@dataclass(frozen=True, slots=True)
class Assumed:
    """What the manifests do not say.

    `gpu`: the product for tiers that name none. `startup_seconds`: until a replica answers, `startups` the same by
    tier; `initial`: replicas that answer when the trace begins, by tier ("": of all that are not named). `acceptance`:
    share of drafted tokens that is accepted (None: the method's usual one). `external_first_token`, `external_token`:
    seconds of an API until its first token and between tokens. `steps`: what tells the step times of the engine of a
    tier, by its name (`step_source` knows better ones, and reads files)."""

    gpu: str = ""
    startup_seconds: float = STARTUP_SECONDS
    acceptance: float | None = None
    external_first_token: float = 0.6
    external_token: float = 0.012
    steps: Steps = plain_roofline
    initial: Mapping[str, int] = field(default_factory=dict)
    startups: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifests:
    """What was read: tiers in the order of the route, the route, and whether it had to be assumed; of the GPUPools of
    the tiers, GPUs that they may have together by product, and how much each weighs."""

    tiers: tuple[Tier, ...]
    route_name: str
    route: ModelRouteSpec
    assumed_route: bool = False
    ignored: tuple[str, ...] = ()
    budget: Mapping[str, int] = field(default_factory=dict)
    priorities: Mapping[str, int] = field(default_factory=dict)


def read(documents: Sequence[Mapping[str, Any]], assumed: Assumed, route: str = "") -> Manifests:
    """What these objects say. `route`: the name of the ModelRoute, where there are several. Raises Invalid, with the
    object and what to do."""
    in_pools = placed(documents, _tiers(documents))
    tiers = in_pools.tiers
    if not tiers:
        raise Invalid("there is no ModelTier in these manifests; give the files that you apply to the cluster")
    name, spec = _route(documents, route, tiers)
    if spec is None:
        spec = ModelRouteSpec.model_validate({"tiers": [{"name": tier} for tier in tiers]})
        name = next(iter(tiers)) + "-route"
        found = True
    else:
        found = False
    missing = [ref.name for ref in spec.tiers if ref.name not in tiers]
    if missing:
        raise Invalid(f"ModelRoute {name} names the tier {missing[0]}, and no ModelTier of that name is in these files")
    others = sorted({str(each.get("kind", "?")) for each in documents} - set(_KINDS))
    order = [ref.name for ref in spec.tiers]
    unused = [tier for tier in tiers if tier not in order]
    ignored = [f"{kind} objects are not simulated" for kind in others]
    ignored += [f"ModelTier {tier} is in no tier list of ModelRoute {name} and is left out" for tier in unused]
    return Manifests(
        tuple(_tier(tier, tiers[tier], assumed, in_pools.gpus.get(tier, "")) for tier in order),
        name,
        spec,
        found,
        tuple(ignored),
        in_pools.budget,
        {tier: weight for tier, weight in in_pools.priorities.items() if tier in order},
    )


def _tiers(documents: Sequence[Mapping[str, Any]]) -> dict[str, ModelTierSpec]:
    tiers: dict[str, ModelTierSpec] = {}
    for body in documents:
        if body.get("kind") != MODEL_TIER.name:
            continue
        seen = tier_object(body)
        if seen.spec is None:
            raise Invalid(f"ModelTier {seen.key.name}: {seen.invalid}")
        if seen.key.name in tiers:
            raise Invalid(f"ModelTier {seen.key.name} is in these files twice; remove one")
        tiers[seen.key.name] = seen.spec
    return tiers


def _route(
    documents: Sequence[Mapping[str, Any]], wanted: str, tiers: Mapping[str, ModelTierSpec]
) -> tuple[str, ModelRouteSpec | None]:
    routes: dict[str, ModelRouteSpec] = {}
    for body in documents:
        if body.get("kind") == MODEL_ROUTE.name:
            seen = route_object(body)
            if seen.spec is None:
                raise Invalid(f"ModelRoute {seen.key.name}: {seen.invalid}")
            routes[seen.key.name] = seen.spec
    if wanted and wanted not in routes:
        raise Invalid(f"there is no ModelRoute {wanted} in these files; there are: {', '.join(routes) or 'none'}")
    if len(routes) > 1 and not wanted:
        raise Invalid(f"these files have several ModelRoutes; say which one with --route: {', '.join(routes)}")
    if not routes:
        if len(tiers) > 8:
            raise Invalid("without a ModelRoute at most 8 tiers can be simulated together; add one that names yours")
        return "", None
    name = wanted or next(iter(routes))
    return name, routes[name]


def _tier(name: str, spec: ModelTierSpec, assumed: Assumed, product: str = "") -> Tier:
    if spec.external is not None:
        return ExternalTier(name, spec, assumed.external_first_token, assumed.external_token)
    gpu = product or spec.placement.node_selector.get(GPU_LABEL, assumed.gpu)
    if not gpu:
        raise Invalid(
            f"ModelTier {name} does not say which GPU it runs on: set placement.nodeSelector {GPU_LABEL}, or give --gpu"
        )
    usual = spec.replicas if spec.replicas is not None else max(1, spec.scaling.min_replicas)
    settings = engine(name, spec, gpu, assumed.acceptance)
    return ServedTier(
        name=name,
        spec=spec,
        settings=settings,
        steps=assumed.steps(name, settings),
        gpu=gpu,
        startup_seconds=assumed.startups.get(name, assumed.startup_seconds),
        initial=assumed.initial.get(name, assumed.initial.get("", usual)),
    )


def engine(name: str, spec: ModelTierSpec, gpu: str, acceptance: float | None = None) -> EngineSettings:
    """The engine that the operator would start for a tier. Raises Invalid where it would not start."""
    release = profile(spec.engine)
    try:
        options = flags.parse(["serve", *arguments(spec)], spec.engine.version)
        if options.model == MODEL_PATH and spec.model is not None:
            options.model = spec.model.uri.rstrip("/").rsplit("/", 1)[-1]  # a size and a format can only be in a name
        config = SimConfig(version=spec.engine.version, gpu=gpu, params_b=_billions(spec), acceptance=acceptance)
        return build_settings(options, config)
    except StartupError as error:
        raise Invalid(f"ModelTier {name}: the engine would not start on {gpu}: {error}") from error
    except SystemExit as error:
        raise Invalid(f"ModelTier {name}: {release.program} does not accept the arguments of this spec") from error


_UNITS = {"K": 1e-6, "M": 1e-3, "B": 1.0, "T": 1e3}


def _billions(spec: ModelTierSpec) -> float | None:
    """The parameters that the spec declares, in billions; None: the model's name says it."""
    declared = None if spec.model is None or spec.model.architecture is None else spec.model.architecture.parameters
    if declared is None:
        return None
    unit = declared[-1] if declared[-1].isalpha() else ""
    return float(declared.removesuffix(unit)) * _UNITS.get(unit.upper(), 1e-9)
