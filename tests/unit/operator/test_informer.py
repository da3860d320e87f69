"""Is an object that was deleted unnoticed left out, and does an informer that is not there say so?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tierwise.ports import Ref
from tierwise_operator.informer import Informer
from tierwise_operator.settings import Settings
from tierwise_operator.triggers import Kind, kopf_settings

KINDS = (Kind("pods", "v1", "pods", dict, "a=b"), Kind("tiers", "tierwise.io/v1alpha1", "modeltiers", dict))


class Living:
    """Knows which UIDs exist, by plural and namespace."""

    def __init__(self, uids: Mapping[tuple[str, str], set[str]]) -> None:
        self._uids = uids
        self.asked: list[tuple[str, str, str]] = []

    async def uids(self, ref: Ref, *, selector: str = "") -> frozenset[str]:
        self.asked.append((ref.plural, ref.namespace, selector))
        return frozenset(self._uids.get((ref.plural, ref.namespace), set()))


def informer(*namespaces: str) -> Informer:
    made = Informer(Settings(namespaces=namespaces), KINDS, lambda: None)
    indices: Any = {
        "pods": {"p1": [{"name": "p1"}], "p2": [{"name": "p2"}]},
        "tiers": {"t1": [{"name": "t1"}]},
    }
    made._started(indices)
    return made


async def test_nothing_is_known_before_the_first_event() -> None:
    made = informer()
    assert await made._copy() is None
    made._event()
    assert await made._copy() == {"pods": ({"name": "p1"}, {"name": "p2"}), "tiers": ({"name": "t1"},)}


async def test_what_was_deleted_unnoticed_is_left_out() -> None:
    made = informer("x", "y")
    made._event()
    living = Living({("pods", "x"): {"p2", "unseen yet"}, ("modeltiers", "y"): {"t1"}})
    made._ghosts = await made._find_ghosts(living)  # type: ignore[arg-type]
    assert made._ghosts == {"p1"}
    assert await made._copy() == {"pods": ({"name": "p2"},), "tiers": ({"name": "t1"},)}
    assert living.asked == [
        ("pods", "x", "a=b"),
        ("pods", "y", "a=b"),
        ("modeltiers", "x", ""),
        ("modeltiers", "y", ""),
    ]


async def test_an_informer_that_does_not_run_knows_nothing_and_stops_at_once() -> None:
    made = Informer(Settings(), KINDS, lambda: None)
    assert await made.records() is None
    assert made.problem
    await made.stop()


def test_kopf_is_set_up_to_write_nothing_and_to_give_up_never() -> None:
    settings = kopf_settings(KINDS)
    assert settings.queueing.worker_limit is None
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is True
    assert settings.process.ultimate_exiting_timeout is None
    assert not hasattr(settings.networking.error_backoffs, "__len__")
    assert list(settings.watching.label_selectors.values()) == ["a=b"]
