"""Checks what holds for every tier that may be at zero: no doubt ends a replica, and no want is ever lost.

Lives of a tier, tick by tick: routers that come, go, begin anew or are not measured, requests that arrive, an operator
that is restarted. What the test knows and the operator does not is when each request came.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.workloads import scale_to
from tests.unit.decide.make import HEALTHY, NOW, decision, heard, plan, pod, router, spec, spread, view
from tests.unit.decide.zero_tiers import last_change
from tests.unit.properties.test_decide import FAST, memories, tiers
from tierwise.types import NO_ROUTERS, UNKNOWN_ROUTERS, RouterSample, RouterSignals, Signal, State, TierState, TierView

LIVES = settings(max_examples=60, deadline=None)
TICK, IDLE = 10.0, 40
NAMES = ("router-0", "router-1", "router-2")

number = st.sampled_from([0.0, 1.0, 7.0, 1e308])
broken = st.sampled_from([State.MISSING, State.STALE, State.INVALID]).map(Signal)
signal = st.one_of(st.builds(Signal, st.just(State.VALUE), number, st.floats(NOW - 29, NOW)), broken)
samples = st.builds(
    RouterSample,
    st.sampled_from(NAMES),
    st.one_of(st.none(), st.floats(NOW - 900, NOW)),
    signal,
    signal,
    signal,
    signal,
)


@st.composite
def said(draw: st.DrawFn) -> RouterSignals:
    """What routers say, or do not."""
    routers = draw(st.lists(samples, unique_by=lambda each: each.router, max_size=3))
    found = heard(*routers, routes=draw(st.sampled_from([("a",), ("a", "b")])))
    unserved = () if any(each.ready for each in routers) and draw(st.booleans()) else ("b",)
    return draw(st.sampled_from([NO_ROUTERS, UNKNOWN_ROUTERS, found, replace(found, unserved=unserved)]))


remembered = st.builds(
    lambda memory, wants, wanted_at, heard_at, called: replace(
        memory, wants=wants, wanted_at=wanted_at, heard_at=heard_at, called=called
    ),
    memories,
    st.one_of(
        st.none(), st.dictionaries(st.sampled_from(NAMES), number).map(lambda found: tuple(sorted(found.items())))
    ),
    st.one_of(st.none(), st.floats(NOW - 9000, NOW + 900)),
    st.one_of(st.none(), st.floats(NOW - 9000, NOW + 900)),
    st.booleans(),
)


def may_sleep(found: TierView) -> TierView:
    """The same tier with minReplicas 0."""
    given_ = found.tier.spec
    assert given_ is not None
    scaling = given_.scaling.model_copy(update={"min_replicas": 0, "idle_seconds": IDLE})
    return replace(found, tier=replace(found.tier, spec=given_.model_copy(update={"scaling": scaling})))


@FAST
@given(tiers(), remembered, said(), st.booleans())
def test_zero_needs_the_word_of_every_ready_router(
    seen: TierView, memory: TierState, routers: RouterSignals, ok: bool
) -> None:
    found = replace(may_sleep(seen), routers=routers)
    made = decision(found, memory, metrics=replace(HEALTHY, ok=ok))
    assert found.tier.spec is not None
    assert 0 <= made.target <= found.tier.spec.scaling.max_replicas
    if made.target == 0 and made.current > 0:
        ready = [each for each in routers.routers if each.ready]
        assert ok
        assert routers.known
        assert routers.routes
        assert not routers.unserved
        assert ready
        for each in ready:
            assert all(one.has_value for one in (each.wanted, each.waiting, each.in_flight))
            assert (each.waiting.value, each.in_flight.value) == (0.0, 0.0)
        assert all(
            not one.running.value and not one.waiting.value for one in seen.signals.pods if one.running.has_value
        )
        assert memory.wanted_at is not None


@FAST
@given(tiers(), memories, said(), st.floats(0, 500))
def test_what_routers_say_never_lowers_a_target(
    seen: TierView, memory: TierState, routers: RouterSignals, waiting: float
) -> None:
    """Of a tier that keeps a replica: with what they say it has as many as without, or more. More that waits gives
    more."""
    without = decision(replace(seen, routers=NO_ROUTERS), memory).target
    assert decision(replace(seen, routers=routers), memory).target >= without
    busier = heard(*routers.routers, router("router-9", waiting=waiting), routes=("a",))
    calmer = heard(*routers.routers, router("router-9"), routes=("a",))
    more, less = (decision(replace(seen, routers=each), memory).target for each in (busier, calmer))
    assert more >= less


@dataclass
class Life:
    """One tier, its routers and its operator. `asked_at`: when the last request came; `begun`: since when each router
    is ready."""

    now: float = NOW
    replicas: int = 0
    memory: TierState = field(default_factory=TierState)
    counts: dict[str, float] = field(default_factory=lambda: {"router-0": 0.0})
    begun: dict[str, float] = field(default_factory=lambda: {"router-0": NOW})
    unmeasured: frozenset[str] = frozenset()
    last: int | None = None
    asked_at: float = NOW

    def view(self) -> TierView:
        """As it is observed: the replicas are ready, and idle, since requests are short."""
        routers = (router(name, wanted=count, at=self.now) for name, count in self.counts.items())
        since = (replace(each, ready_at=self.begun[each.router]) for each in routers)
        told = (RouterSample(each.router, each.ready_at) if each.router in self.unmeasured else each for each in since)
        pods = tuple(pod(each.pod) for each in spread(0, self.replicas))
        found = view(
            spec(minReplicas=0, idleSeconds=IDLE, scaleDownWindowSeconds=0),
            spread(0, self.replicas, at=self.now),
            current=self.replicas,
            pods=pods,
        )
        found = replace(found, routers=heard(*told, unserved=() if self.counts else ("chat",)))
        return found if self.last is None else last_change(found, self.last, self.now)

    def tick(self) -> None:
        """One decision, carried out."""
        self.now += TICK
        made = plan(self.view(), self.memory, now=self.now)
        self.memory, target = made.state, scale_to(made)
        if target is not None:
            if target == 0:
                assert self.now - self.asked_at >= IDLE, "somebody wanted it"
            self.replicas = self.last = target


events = st.lists(
    st.one_of(
        st.just("tick"),
        st.just("tick"),
        st.just("restart"),
        st.tuples(st.sampled_from(["ask", "begin", "come", "go", "lose", "find"]), st.sampled_from(NAMES)),
    ),
    max_size=60,
)


@LIVES
@given(events)
def test_no_life_loses_a_want_or_ends_a_replica_too_early(happened: list[str | tuple[str, str]]) -> None:
    life = Life()
    for each in happened:
        if each == "tick":
            life.tick()
        elif each == "restart":
            life.memory = TierState()
        elif isinstance(each, tuple):
            _happen(life, *each)
    for name in NAMES:
        _happen(life, "find", name)
    life.tick()
    _happen(life, "come", "router-0")
    life.tick()
    life.tick()
    _happen(life, "ask", "router-0")
    life.tick()
    assert life.replicas == 1, "within one look"
    for _ in range(round(IDLE / TICK) + 1):
        life.tick()
    assert life.replicas == 0, "and idle again"


def _happen(life: Life, what: str, name: str) -> None:
    if what == "ask" and name in life.counts:
        life.counts[name] += 1
        if name not in life.unmeasured:
            life.asked_at = life.now
    elif what == "begin" and name in life.counts:
        if life.replicas == 0:  # back at its old number by the next look it wakes nothing: not looked for here
            life.tick()
        life.counts[name], life.begun[name] = 0.0, life.now
        if life.replicas == 0:
            life.tick()
    elif what == "come" and name not in life.counts:
        life.counts[name], life.begun[name] = 0.0, life.now
    elif what == "go":
        life.counts.pop(name, None)
    elif what == "lose":
        life.unmeasured |= {name}
    elif what == "find":
        life.unmeasured -= {name}
