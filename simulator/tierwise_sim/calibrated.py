"""Tells step times from what `tierwise calibrate` measured on a user's own engine.

Eight numbers, all in seconds: four overheads, and four rates that on a GPU of a data sheet would follow from it. They
hold for one model on one engine as it was started; nothing is known of another quantization or another GPU.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tierwise.errors import Invalid
from tierwise_sim.step_time import Batch, Overheads

KIND = "tierwise calibration"


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds: `weights` to read them once, `token` to compute one; a step takes the longer of the two.

    `context` to read one token of the KV cache, `pair` for one query and key of a prompt's attention.
    """

    weights: float
    token: float
    context: float
    pair: float


@dataclass(frozen=True)
class Calibrated:
    """Step durations from measured rates and overheads."""

    rates: Rates
    overheads: Overheads
    speed: float = 1.0

    @property
    def request_seconds(self) -> float:
        """Between a request's arrival and the first step that may compute it."""
        return self.overheads.request / self.speed

    def seconds(self, batch: Batch) -> float:
        """Duration of one step, in seconds of the compressed clock."""
        rates, more = self.rates, self.overheads
        tokens = batch.decodes * (1 + batch.drafted) + batch.prefill
        products = max(rates.weights, tokens * rates.token)
        attention = (batch.decode_context + batch.prefill_context) * rates.context + batch.prefill_pairs * rates.pair
        beside = more.step + more.sequence * batch.decodes + more.prompt * batch.prefills
        return (products + attention + beside) / self.speed

    def decode_seconds(self, decodes: int) -> Callable[[int], float]:
        """`seconds` of a step with only these decodes, as a function of their context."""
        fixed, per_context = self.seconds(Batch(decodes)), self.rates.context / self.speed
        return lambda context: fixed + context * per_context


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One load in a closed loop: users, and the mean tokens of a prompt and an answer."""

    users: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Judged:
    """A load point, what was measured there and what the fit says, in seconds; `fitted`: whether it was fitted to."""

    load: LoadPoint
    fitted: bool
    ttft: float
    inter_token: float
    said_ttft: float
    said_inter_token: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A whole calibration: the engine it holds for, the numbers, and how well they say what was measured."""

    model: str
    max_num_batched_tokens: int
    rates: Rates
    overheads: Overheads
    judged: tuple[Judged, ...]

    def step_time(self, speed: float = 1.0) -> Calibrated:
        """The step times, on a clock that runs `speed` times as fast."""
        return Calibrated(self.rates, self.overheads, speed)

    def error(self, of: Callable[[Judged], float]) -> float | None:
        """Mean of the absolute relative errors over the points that were not fitted to; None without any."""
        errors = [abs(of(each)) for each in self.judged if not each.fitted]
        return sum(errors) / len(errors) if errors else None

    @property
    def inter_token_error(self) -> float | None:
        """Of the time between tokens."""
        return self.error(lambda each: each.said_inter_token / each.inter_token - 1)

    @property
    def ttft_error(self) -> float | None:
        """Of the time to the first token."""
        return self.error(lambda each: each.said_ttft / each.ttft - 1)


def to_json(calibration: Calibration) -> str:
    """The file's text."""
    return json.dumps({"kind": KIND, **asdict(calibration)}, indent=1) + "\n"


def read(path: Path) -> Calibration:
    """The calibration in a file. Raises Invalid, with what is wrong and where."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}; `tierwise calibrate --out FILE` writes one") from error
    except ValueError as error:
        raise Invalid(f"{path} is not JSON: {error}") from error
    if not isinstance(kept, dict) or kept.pop("kind", None) != KIND:
        raise Invalid(f'{path} is not a file that `tierwise calibrate` wrote: its "kind" is not {KIND!r}')
    try:
        return Calibration(
            model=str(kept["model"]),
            max_num_batched_tokens=int(kept["max_num_batched_tokens"]),
            rates=Rates(**_seconds(kept["rates"], Rates)),
            overheads=Overheads(**_seconds(kept["overheads"], Overheads)),
            judged=tuple(Judged(**each | {"load": LoadPoint(**each["load"])}) for each in kept["judged"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid(f"{path}: {error}; make it anew with `tierwise calibrate`") from error


def _seconds(given: Mapping[str, object], of: type[Rates] | type[Overheads]) -> dict[str, float]:
    """The numbers of a part; raises ValueError for one that is missing, unknown or no time."""
    names = {field.name for field in fields(of)}
    if set(given) != names:
        raise ValueError(f"{of.__name__.lower()} are {', '.join(sorted(names))}, not {', '.join(sorted(given))}")
    for name, value in given.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 3600:
            raise ValueError(f"{name} is no number of seconds: {value!r}")
    return {name: float(str(value)) for name, value in given.items()}
