"""Makes replicas and indexes for tests of routing."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from tierwise.routing.prefix import PrefixIndex
from tierwise.routing.replica import Replica
from tierwise.routing.route import Provider, RouteTier


def replica(
    key: str = "a",
    *,
    in_flight: int = 0,
    waiting: int = 0,
    kv: float = 0.0,
    draining: bool = False,
    first_token: float | None = None,
    broken: bool = False,
    work: int = 0,
    others: int = 0,
) -> Replica:
    """One with so much load; `first_token` is the average of five answers, `work` one prompt that is not computed."""
    made = Replica(key, f"http://{key}:8000", waiting=waiting, kv_usage=kv, draining=draining)
    if work:
        made.begin(0.0, work)
    made.in_flight, made.others = in_flight, others
    for _ in range(5 if first_token is not None else 0):
        made.first_token_after(first_token or 0.0)
    for _ in range(3 if broken else 0):
        made.breaker.failed(0.0)
    return made


def served(concurrency: int, routers: int = 1, of_all: int | None = None) -> RouteTier:
    return RouteTier("small", "small", concurrency=concurrency, routers=routers, routers_of_all=of_all)


def bought(concurrency: int) -> RouteTier:
    return RouteTier("large", "large", provider=Provider("https://api.example/v1"), concurrency=concurrency)


def several(count: int, load: Callable[[int], int] = lambda place: 0) -> list[Replica]:
    return [replica("abcdefgh"[place], in_flight=load(place)) for place in range(count)]


def index_of(**prompts: tuple[int, ...]) -> PrefixIndex:
    index = PrefixIndex()
    for key, blocks in prompts.items():
        index.add(key, blocks)
    return index


replicas = st.builds(
    replica,
    st.just("a"),
    in_flight=st.integers(0, 9),
    waiting=st.integers(0, 9),
    kv=st.floats(0, 1),
    draining=st.booleans(),
    first_token=st.none() | st.floats(0.1, 9),
    broken=st.booleans(),
    work=st.integers(0, 20_000),
    others=st.integers(0, 9),
)
"""Any of key a, at a moment when broken breakers are open (before 5 s)."""
