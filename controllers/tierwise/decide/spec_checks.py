"""Keeps what `engines.check` says, so that it runs once per UID, generation and facts of a tier.

Its rules are the dearest part of deciding about a tier that is not settled, and a status that is written makes a new
object of the same spec. The generation tells that a spec is the one that was checked: the API server raises it with
every change of a spec, and with nothing else.
"""

from __future__ import annotations

from collections.abc import Container

from tierwise import engines
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import Finding
from tierwise.errors import Unsupported
from tierwise.types import TierObject
from tierwise.types.capabilities import Facts

# The facts that were learned, and none, in each pool: more are kept of no tier.
_MOST = 4
Answer = tuple[Finding, ...] | Unsupported


class SpecChecks:
    """What was found in the specs of all tiers."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, dict[tuple[str, Facts], Answer]]] = {}

    def findings(
        self, tier: TierObject, facts: Facts, spec: ModelTierSpec | None = None, pool: str = ""
    ) -> tuple[Finding, ...]:
        """`engines.check` of a tier with a spec; `spec`: the one that it has in this pool. Raises
        tierwise.errors.Unsupported as that does."""
        generation, answers = self._found.get(tier.uid, (None, {}))
        if generation != tier.generation:
            answers = {}
        asked = pool, facts
        if asked not in answers:
            if sum(1 for known, _ in answers if known == pool) >= _MOST:
                answers.clear()
            answers[asked] = _answer(spec or tier.spec, facts)
            self._found[tier.uid] = tier.generation, answers
        answer = answers[asked]
        if isinstance(answer, Unsupported):
            raise answer
        return answer

    def forget(self, alive: Container[str]) -> None:
        """Drop what belongs to tiers that are gone. `alive`: the UIDs of all others."""
        self._found = {uid: found for uid, found in self._found.items() if uid in alive}


def _answer(spec: ModelTierSpec | None, facts: Facts) -> Answer:
    if spec is None:
        return ()
    try:
        return engines.check(spec, facts)
    except Unsupported as error:
        return error
