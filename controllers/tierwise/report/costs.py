"""Computes what a tier costs now.

Money is decimal from end to end: prices are written as text in the spec and shown as text in the status. A GPU costs
from the moment a pod holds it until the pod is gone, so starting and draining replicas count too.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from tierwise.api.modeltier import ModelTierSpec, TokenPrices
from tierwise.pod_diagnosis import FINISHED
from tierwise.types import PodFacts, Signal, Workload

_SECONDS_PER_HOUR = Decimal(3600)
_MILLION = Decimal(1_000_000)
_TOO_FEW = 0.01  # tokens per second below which the quotient says nothing
ASSUMED = "assumed"
_CENTS, _FINE = Decimal("0.01"), Decimal("0.0001")


def holds_gpus(pod: PodFacts) -> bool:
    """Whether the pod keeps its GPUs from others: bound to a node and not finished, be it starting or draining."""
    return pod.scheduled and pod.phase not in FINISHED


def per_hour(spec: ModelTierSpec, pods: tuple[PodFacts, ...], gpus: int | None = None) -> Decimal | None:
    """US dollars per hour: replicas that hold GPUs x GPUs of a replica (`gpus`; as in the spec) x price. None without
    a price."""
    if spec.price is None:
        return None
    each = spec.resources.gpus if gpus is None else gpus
    return sum(map(holds_gpus, pods)) * each * Decimal(spec.price.gpu_hour)


def replica_gpus(spec: ModelTierSpec, workload: Workload) -> int:
    """GPUs of one replica: of a workload that is retired, as it was made."""
    made = workload.inference_service.manifest if workload.retired and workload.inference_service is not None else {}
    containers = made.get("spec", {}).get("predictor", {}).get("containers", ())
    found = (each.get("resources", {}).get("limits", {}).get(spec.resources.resource_name) for each in containers)
    return next((int(number) for number in found if number), spec.resources.gpus)


def per_million_tokens(hourly: Decimal | None, tokens_per_second: Signal) -> Decimal | None:
    """US dollars per million tokens, prompt and generated: $/h / 3600 / (tokens/s) x 10^6. None when not known."""
    if hourly is None or not tokens_per_second.has_value or tokens_per_second.value < _TOO_FEW:
        return None
    return hourly / _SECONDS_PER_HOUR / Decimal(repr(tokens_per_second.value)) * _MILLION


def money(amount: Decimal | None) -> str:
    """US dollars for a column: cents, or four decimals below ten cents; empty for None."""
    if amount is None:
        return ""
    step = _CENTS if amount >= Decimal("0.1") or amount == 0 else _FINE
    return f"{amount.quantize(step, ROUND_HALF_EVEN):f}"


def assumed(amount: str, from_a_list: bool) -> str:
    """An amount as it is shown: never without the word when its price is a list price."""
    return f"{amount} ({ASSUMED})" if amount and from_a_list else amount


def number(shown: str) -> Decimal:
    """The amount of what is shown, with or without that word."""
    return Decimal(shown.split(" ", 1)[0])


def prices(tokens: TokenPrices) -> str:
    """The two prices of an external API that matter most; how they mix is known only from measured requests."""
    return f"{money(Decimal(tokens.input))} in, {money(Decimal(tokens.output))} out"
