"""Whatever is written and whatever is known: check answers, refuses only for what is known, and more never hurts."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.render.strategies import specs
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import GPU, Facts, ModelShape, check, effective_facts, profiles
from tierwise.engines.resolved_facts import parameter_number
from tierwise.reasons import table

FIELD = re.compile(
    r"\b(model\.(uri|name|revision|architecture)|engine\.(version|image)|quantization\.(method|kvCacheDtype)|"
    r"speculation\.\w+|parallelism\.(tensor|pipeline)|contextLength|extraArgs|batching\.\w+|resources\.\w+)"
)
CAPABILITIES = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0), (12, 1)]
WHERE = {reason.word: reason.where for reason in table()}

SIZES = st.none() | st.integers(1, 512) | st.integers(1, 10**6)
COUNTS = st.none() | st.integers(1, 10**13)
GPUS = st.builds(
    GPU,
    product=st.sampled_from(["", "NVIDIA-L4", "Tesla-T4", "AMD_Instinct_MI300X_OAM", "NVIDIA-H100-MIG-1g.10gb"]),
    capability=st.none() | st.sampled_from([(7, 0), *CAPABILITIES]),
    memory_mib=st.none() | st.integers(1, 300_000),
    driver_major=st.none() | st.integers(400, 700),
)
SHAPES = st.builds(
    ModelShape,
    parameters=COUNTS,
    weight_bytes=COUNTS,
    layers=SIZES,
    hidden_size=SIZES,
    attention_heads=SIZES,
    kv_heads=SIZES,
    head_dim=SIZES,
    vocabulary=SIZES,
    context_length=SIZES,
    default_context=SIZES,
    dtype=st.sampled_from(["", "bfloat16", "float16", "float32"]),
    quantization=st.sampled_from(["", "awq", "fp8", "gguf", "mxfp4", "modelopt", "$(x)"]),
    unsupported=st.sampled_from(["", "bits 3"]),
    weight_bits=st.none() | st.integers(1, 32),
    experts=st.integers(0, 256),
    sliding_window=SIZES,
    attention_layers=st.none() | st.integers(0, 512),
    window_layers=st.none() | st.integers(0, 512),
    draft_layers=st.none() | st.integers(1, 4),
    model_type=st.sampled_from(["", "llama", "gemma3", "mistral", "deepseek_v3", "deepseek_v41"]),
    latent_size=SIZES,
)
FACTS = st.builds(
    Facts,
    gpus=st.lists(GPUS, max_size=3).map(tuple),
    model=st.none() | SHAPES,
    draft=st.none() | SHAPES,
)
ARCHITECTURES = st.fixed_dictionaries(
    {},
    optional={
        "parameters": st.sampled_from(["8B", "0.5B", "1T", "0", "8030261248"]),
        "layers": st.integers(1, 200),
        "fullAttentionLayers": st.integers(0, 200),
        "hiddenSize": st.integers(1, 65536),
        "attentionHeads": st.integers(1, 256),
        "keyValueHeads": st.integers(1, 256),
        "headDim": st.integers(1, 512),
        "latentSize": st.integers(1, 1024),
        "vocabularySize": st.integers(1, 300_000),
        "contextLength": st.integers(1, 10**7),
        "experts": st.integers(0, 512),
    },
)


@st.composite
def tiers(draw: st.DrawFn) -> ModelTierSpec:
    written: dict[str, Any] = draw(specs())
    if draw(st.booleans()):
        written["model"]["architecture"] = draw(ARCHITECTURES)
    if draw(st.booleans()):
        written["resources"]["resourceName"] = draw(
            st.sampled_from(["nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "amd.com/gpu", "example.com/x"])
        )
    return ModelTierSpec.model_validate(written)


@st.composite
def small_tiers(draw: st.DrawFn) -> ModelTierSpec:
    """Tiers that only GPUs and sizes can be against: nothing else is wrong with them."""
    tensor = draw(st.sampled_from([1, 2, 4]))
    written = {
        "model": {"name": "chat", "uri": "hf://organisation/model"},
        "engine": {"version": draw(st.sampled_from(["0.30.0", "0.32.0", "0.33.0"]))},
        "quantization": {
            "method": draw(st.sampled_from(["none", "fp8_per_channel", "modelopt", "mxfp4"])),
            "kvCacheDtype": draw(st.sampled_from(["auto", "fp8", "fp8_e5m2"])),
        },
        "parallelism": {"tensor": tensor},
        "resources": {"gpus": tensor},
        "contextLength": draw(st.sampled_from([1024, 32768, 131072])),
        "extraArgs": draw(st.sampled_from([[], ["--dtype=half"], ["--dtype=bfloat16"]])),
    }
    return ModelTierSpec.model_validate(written)


REAL_GPUS = st.builds(
    GPU,
    product=st.sampled_from(["", "NVIDIA-L4"]),
    capability=st.none() | st.sampled_from(CAPABILITIES),
    memory_mib=st.none() | st.sampled_from([15360, 23034, 40960, 81559, 143771]),
    driver_major=st.sampled_from([None, 570, 580]),
)
REAL_SHAPES = st.builds(
    lambda billions, layers, heads: ModelShape(
        parameters=billions * 10**9,
        layers=layers,
        attention_layers=layers,
        attention_heads=32,
        kv_heads=heads,
        head_dim=128,
        vocabulary=128256,
        context_length=131072,
        dtype="bfloat16",
        model_type="llama",
    ),
    st.sampled_from([1, 8, 32, 70]),
    st.sampled_from([16, 32, 80]),
    st.sampled_from([4, 8, 32]),
)


def _facts(gpus: st.SearchStrategy[GPU], shapes: st.SearchStrategy[ModelShape | None]) -> st.SearchStrategy[Facts]:
    kinds = st.lists(gpus, min_size=1, max_size=2).map(tuple)
    return st.builds(Facts, gpus=kinds, model=shapes)


REAL_FACTS = _facts(REAL_GPUS, st.none() | REAL_SHAPES)
# Of which only one thing is known, so that it decides.
OF_SOME_SIZE = _facts(st.builds(GPU, memory_mib=st.sampled_from([15360, 23034, 40960, 81559])), REAL_SHAPES)
OF_SOME_AGE = _facts(st.builds(GPU, capability=st.sampled_from(CAPABILITIES)), st.none())


def refused(spec: ModelTierSpec, facts: Facts) -> bool:
    return any(problem.fatal for problem in check(spec, facts))


@settings(max_examples=40)
@given(tiers(), FACTS)
def test_check_always_answers_in_words_of_the_table(spec: ModelTierSpec, facts: Facts) -> None:
    found = check(spec, facts)
    assert [problem.fatal for problem in found] == sorted((problem.fatal for problem in found), reverse=True)
    for problem in found:
        assert ("Accepted" if problem.fatal else "Advice") in WHERE[problem.reason], problem
        assert FIELD.search(problem.message), problem
        assert "\n" not in problem.message


@settings(max_examples=150)
@given(small_tiers(), REAL_FACTS, st.data())
def test_what_is_not_known_refuses_nothing(spec: ModelTierSpec, facts: Facts, data: st.DataObject) -> None:
    if refused(spec, facts):
        return
    gpus = tuple(_less(data, gpu) for gpu in facts.gpus)
    shapes = [None if shape is None or data.draw(st.booleans()) else shape for shape in (facts.model, facts.draft)]
    assert not refused(spec, Facts(gpus=gpus, model=shapes[0], draft=shapes[1]))


def _less(data: st.DataObject, gpu: GPU) -> GPU:
    # Whose GPU it is, is told by the product alone, so that stays.
    return GPU(
        gpu.product,
        data.draw(st.sampled_from([gpu.capability, None])),
        data.draw(st.sampled_from([gpu.memory_mib, None])),
        data.draw(st.sampled_from([gpu.driver_major, None])),
    )


@settings(max_examples=150)
@given(small_tiers(), OF_SOME_SIZE, st.integers(0, 100_000))
def test_more_memory_is_never_worse(spec: ModelTierSpec, facts: Facts, more: int) -> None:
    larger = tuple(
        gpu if gpu.memory_mib is None else replace(gpu, memory_mib=gpu.memory_mib + more) for gpu in facts.gpus
    )
    assert refused(spec, facts) or not refused(spec, replace(facts, gpus=larger))


@settings(max_examples=150)
@given(small_tiers(), OF_SOME_AGE, st.integers(0, len(CAPABILITIES)))
def test_a_newer_gpu_is_never_worse(spec: ModelTierSpec, facts: Facts, steps: int) -> None:
    """The formats of one generation alone, nvfp4, are left out: an even newer one does not read them."""
    newer = tuple(_newer(gpu, steps) for gpu in facts.gpus)
    assert refused(spec, facts) or not refused(spec, replace(facts, gpus=newer))


def _newer(gpu: GPU, steps: int) -> GPU:
    if gpu.capability not in CAPABILITIES:
        return gpu
    place = min(CAPABILITIES.index(gpu.capability) + steps, len(CAPABILITIES) - 1)
    return replace(gpu, capability=CAPABILITIES[place])


@settings(max_examples=150)
@given(small_tiers(), REAL_FACTS, REAL_GPUS)
def test_another_kind_of_gpu_is_never_worse(spec: ModelTierSpec, facts: Facts, another: GPU) -> None:
    assert refused(spec, facts) or not refused(spec, replace(facts, gpus=(*facts.gpus, another)))


@settings(max_examples=40)
@given(tiers(), FACTS)
def test_the_file_wins_over_the_spec(spec: ModelTierSpec, facts: Facts) -> None:
    effective = effective_facts(spec, facts)
    assert effective.gpus == facts.gpus
    stretched = spec.model is not None and spec.model.overrides is not None and spec.model.overrides.rope is not None
    if facts.model is not None:
        assert effective.model is not None
        for each in fields(ModelShape):
            if stretched and each.name in ("context_length", "default_context"):
                continue  # an override is there to win over the file
            read = getattr(facts.model, each.name)
            assert read in (None, "", 0) or getattr(effective.model, each.name) == read, each.name


@given(st.integers(1, 10**15), st.sampled_from(["", "K", "M", "B", "T"]))
def test_parameters_as_people_write_them(number: int, suffix: str) -> None:
    factor = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}[suffix]
    assert parameter_number(f"{number}{suffix}") == number * factor


def test_every_profile_keeps_its_tables_apart() -> None:
    for each in profiles():
        assert not each.online_quantization & each.checkpoint_quantization
        assert not set(each.removed_flags) & {"--quantization"}


def test_the_small_tiers_are_both_accepted_and_refused() -> None:
    """Else the properties above would say nothing."""
    tier = ModelTierSpec.model_validate({"model": {"name": "chat", "uri": "hf://a/b"}, "contextLength": 32768})
    shape = ModelShape(parameters=8 * 10**9, layers=32, attention_layers=32, kv_heads=8, head_dim=128)
    verdicts = {refused(tier, Facts((GPU("", (8, 9), mib),), shape)) for mib in (15360, 23034, 81559)}
    assert verdicts == {False, True}
