"""Follows how many requests per second come to a tier, and asks for the replicas that they need.

Two steps of the trail, which only ever raise:

    ahead    what may come while a replica starts (`look_ahead`), by what a replica can take (`learned_capacity`)
    targets  while the service level is missed, one replica more than those that miss it, and none is removed

Replicas that are younger than the minute over which is counted say nothing yet. So a target that is missed asks for one
replica, then waits for it to start and to be measured.
"""

from __future__ import annotations

from dataclasses import replace

from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide.capacity_estimate import SAME_SAMPLE_SECONDS, learned_for, newest_sample, requests_per_replica
from tierwise.decide.demand import whole
from tierwise.decide.learned_capacity import LEAST_SHARE, after, kind
from tierwise.decide.look_ahead import STARTUP_SECONDS, arrivals, bound, kept, startup, steady
from tierwise.decide.request_rate import WINDOW_SECONDS, throughput
from tierwise.decide.service_level import judge
from tierwise.decide.trail import Trail
from tierwise.types import Flow, TierState, TierView


def watch(view: TierView, spec: ModelTierSpec, state: TierState, elsewhere: float) -> TierState:
    """The state with what this sample says. `elsewhere`: requests that wait in routers. The same sample again says
    nothing new, and what is counted over a minute says nothing before a replica was measured for so long."""
    memory = float(spec.scaling.scale_down_window_seconds)  # what came before is not to hold replicas any longer
    state = replace(state, startup_seconds=startup(view, state, spec.startup_timeout_seconds))
    if state.capacities and state.learned_for != learned_for(spec):
        state = replace(state, capacities=())
    pods, now = view.signals.pods, newest_sample(view.signals.pods)
    if now is None or (state.sampled_at is not None and abs(now - state.sampled_at) < SAME_SAMPLE_SECONDS):
        return state
    waiting = elsewhere + sum(pod.waiting.value for pod in pods if pod.waiting.has_value)
    rate = arrivals(view, state, waiting, now)
    if rate is None or not any(_old(view, state, now)):
        return state
    settled = all(_old(view, state, now))
    level = settled and steady(state.flows, Flow(now, rate))
    seen = throughput(view.signals, pods, requests_per_replica(spec, state)) if level else None
    verdict = judge(view.signals, spec.scaling.targets) if settled else None
    if verdict is not None and not verdict.missed and elsewhere and _promises_first_tokens(spec):
        verdict = None  # the time that they wait in routers is in no engine's: nothing says that the level is kept
    return replace(
        state,
        flows=kept(state.flows, Flow(now, rate), memory),
        backlog=kept(state.backlog, Flow(now, waiting), WINDOW_SECONDS),
        capacities=after(state.capacities, kind(view.signals), seen, verdict),
    )


def _promises_first_tokens(spec: ModelTierSpec) -> bool:
    return spec.scaling.targets is not None and spec.scaling.targets.ttft is not None


def _old(view: TierView, state: TierState, now: float) -> list[bool]:
    """Of each replica, whether it was measured for longer than a minute."""
    first = dict(state.measured or ())
    return [now - first.get(pod.pod, now) > WINDOW_SECONDS for pod in view.signals.pods]


def ask_ahead(trail: Trail, view: TierView, state: TierState) -> None:
    """What may come while a replica starts. No step while that is not known, or is not measured any more."""
    seconds = STARTUP_SECONDS if state.startup_seconds is None else state.startup_seconds
    coming, now = bound(state.flows, seconds), newest_sample(view.signals.pods)
    if coming is None or now is None or now - state.flows[-1].at > WINDOW_SECONDS or not state.capacities:
        return
    given = state.capacities[0].rate * state.capacities[0].share
    asked = max(trail.replicas, whole(coming.most / given))
    said = (
        f"{coming.most:.3g} requests/s may come within {coming.seconds:.0f} s ({coming.level:.3g} now), "
        f"{given:.3g} are a replica's"
    )
    trail.step("ahead", asked, reasons.LOOK_AHEAD if asked > trail.replicas else "", said)


def ask_for_targets(trail: Trail, view: TierView, spec: ModelTierSpec, state: TierState) -> None:
    """What a missed service level asks for. No step for a tier without one."""
    if spec.scaling.targets is None:
        return
    pods, now = view.signals.pods, newest_sample(view.signals.pods)
    verdict = judge(view.signals, spec.scaling.targets)
    settled = now is not None and all(_old(view, state, now))
    if verdict is None or not verdict.missed or not settled:
        trail.step("targets", trail.replicas)
        return
    seen = throughput(view.signals, pods, requests_per_replica(spec, state))
    if seen is not None and seen.full < LEAST_SHARE:
        said = f"{verdict.missed}; the replicas are {seen.full:.0%} full, more of them would not help"
        trail.step("targets", trail.replicas, reasons.TARGET_OUT_OF_REACH, said)
        return
    asked = max(trail.replicas, trail.current, len(pods) + 1)
    trail.step("targets", asked, reasons.TARGET if asked > trail.replicas else "", verdict.missed)
