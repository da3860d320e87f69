"""Checks that what Tierwise renders serves: the real engine, its argument list unchanged, through KServe's Service.

One tier per release with the plain model, and one with its quantized copy: same text, slightly other numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from playground.handle import Playground
from tests.cluster.kubectl import Kubectl
from tests.vllm.tiers import client, cycle, tier
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import arguments

pytestmark = pytest.mark.vllm
TOKENS = 40
KERNEL = "Selected CPUInt8ScaledMMLinearKernel for CompressedTensorsW8A8Int8"
TIERS = {
    "plain": tier("plain", "plain"),
    "quantized": tier("quantized", "int8", quantization={"method": "compressed-tensors"}),
    "older": tier("older", "plain", "0.30"),
}


@dataclass(frozen=True, slots=True)
class Serving:
    """The namespace in which all of them serve."""

    playground: Playground
    kubectl: Kubectl

    def said(self, name: str) -> tuple[str, list[float]]:
        """An answer of the tier: its text, and the log-probabilities of the likeliest tokens at each place."""
        with client(self.playground, self.kubectl, name) as asking:
            answer = asking.chat.completions.create(
                model=name,
                messages=[{"role": "user", "content": "What do you say?"}],
                max_tokens=TOKENS,
                temperature=0,
                logprobs=True,
                top_logprobs=20,
            )
        (choice,) = answer.choices
        assert answer.usage is not None
        assert answer.usage.completion_tokens == TOKENS
        assert choice.logprobs is not None
        places = choice.logprobs.content or []
        return choice.message.content or "", [each.logprob for place in places for each in place.top_logprobs]

    def log(self, name: str) -> str:
        """What the tier's engine has logged."""
        (pod,) = self.kubectl.pods(name)
        return self.kubectl("logs", pod["metadata"]["name"])


@pytest.fixture(scope="module")
def serving(playground: Playground, serve: Callable[..., Kubectl]) -> Serving:
    return Serving(playground, serve("serving", *TIERS.values()))


@pytest.mark.parametrize("name", TIERS)
def test_a_tier_answers_the_official_client_through_its_service(serving: Serving, name: str) -> None:
    text, _ = serving.said(name)
    assert text == cycle(TOKENS)


@pytest.mark.parametrize("name", TIERS)
def test_the_alias_and_a_stream_work_too(serving: Serving, name: str) -> None:
    with client(serving.playground, serving.kubectl, name) as asking:
        stream = asking.chat.completions.create(
            model="tierwise",
            messages=[{"role": "user", "content": "And in parts?"}],
            max_tokens=TOKENS,
            temperature=0,
            stream=True,
        )
        parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(parts) == cycle(TOKENS)
    assert len(parts) > TOKENS / 2, "an answer in parts comes in parts"


@pytest.mark.parametrize("name", TIERS)
def test_the_engine_got_the_rendered_arguments_and_nothing_of_them_was_changed(serving: Serving, name: str) -> None:
    rendered = ["serve", *arguments(ModelTierSpec.model_validate(TIERS[name]["spec"]))]
    (line,) = [line for line in serving.log(name).splitlines() if line.startswith("vllm-cpu:")]
    started = line.split()
    begin = started.index("serve")
    assert started[begin : begin + len(rendered)] == rendered


def test_the_quantized_checkpoint_runs_on_the_quantized_kernel(serving: Serving) -> None:
    assert KERNEL in serving.log("quantized")
    assert KERNEL not in serving.log("plain")


def test_the_quantized_model_says_the_same_with_other_numbers(serving: Serving) -> None:
    plain, exact = serving.said("plain")
    quantized, rounded = serving.said("quantized")
    assert quantized == plain
    assert rounded != exact, "equal to the last bit: its quantized layers took no part"
    assert sum(abs(one - other) for one, other in zip(exact, rounded, strict=True)) / len(exact) < 0.3
