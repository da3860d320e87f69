"""Names the packages that are mutated, the tests that run against their mutants, and where the results are kept.

Each has a run of its own: its tests need not wait for those of the other, and a change of one leaves the results of the
other as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Target:
    """One package of tierwise. `copied` are folders of the repository by where mutmut wants them; `tests` run against
    each mutant; `least` is the share that they must notice; `every_word`: somebody must have looked at each
    survivor; `root`: where the folder of the mutants lies."""

    name: str
    copied: Mapping[str, str]
    tests: tuple[str, ...]
    least: float
    suffix: str
    every_word: bool = False
    root: Path = REPO

    @property
    def sources(self) -> Path:
        """The folder of its code."""
        return REPO / "controllers/tierwise" / self.name

    @property
    def mutated(self) -> Path:
        """The same in the copy."""
        return Path("src/tierwise") / self.name

    def module(self, name: str) -> str:
        """How mutmut calls one of its files."""
        return f"tierwise.{self.name}.{name.removesuffix('.py').replace('/', '.')}"

    @property
    def results(self) -> Path:
        """The results of the last run."""
        return REPO / f"docs/results/mutants{self.suffix}.json"

    @property
    def page(self) -> Path:
        """The page for people, from the repository's root."""
        return Path(f"docs/mutants{self.suffix}.md")

    @property
    def words(self) -> Path:
        """Why survivors may live."""
        return Path(__file__).with_name(f"words{self.suffix}.yaml")

    @property
    def folder(self) -> Path:
        """Where the mutants are made."""
        return self.root / f".cache/mutants{self.suffix}"


DECIDE = Target(
    name="decide",
    copied={
        "controllers/tierwise": "src/tierwise",
        "simulator/tierwise_sim": "src/tierwise_sim",
        "tests/builders": "tests/builders",
        "tests/unit/act": "tests/unit/act",  # the cluster in memory that the tests of the way back run on
        "tests/unit/reconcile": "tests/unit/reconcile",
        "tests/unit/decide": "tests/unit/decide",
        "tests/unit/properties": "tests/unit/properties",
    },
    # Not test_settled.py and test_observer.py: they live through whole processes, and every mutant would wait for them.
    tests=(
        "tests/unit/reconcile/test_rollback.py",
        "tests/unit/decide",
        *(f"tests/unit/properties/test_{name}.py" for name in ("decide", "decide_unknown", "fleet", "rollout")),
    ),
    least=0.98,
    suffix="",
    every_word=True,
)
ROUTING = Target(
    name="routing",
    copied={"controllers/tierwise": "src/tierwise", "tests/unit/routing": "tests/unit/routing"},
    # Not whole simulations, for which every mutant would wait, and no speed: mutmut's copy is slower than the code.
    tests=tuple(
        path.relative_to(REPO).as_posix()
        for path in sorted((REPO / "tests/unit/routing").glob("test_*.py"))
        if path.name not in ("test_routers_agree.py", "test_pressure_noise.py", "test_classifier_speed.py")
    ),
    least=0.90,
    suffix="-routing",
)
TARGETS = (DECIDE, ROUTING)
