"""Every rendered argument list is what vLLM's own command line of that release accepts, and it understands by it what
the typed fields say. The profiles say of a release what its own tables say."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.conformance.asking import ask
from tests.conformance.environments import RELEASES, vllm_code, vllm_python
from tests.conformance.sources import Source
from tests.render.goldens import specs
from tierwise.api.modeltier import Engine, ModelSource, ModelTierSpec, QuantizationMethod
from tierwise.engines import ALIAS, CHAT_TEMPLATE, arguments, check, model_argument, profile, profiles
from tierwise.engines.adapters import MOST_SLOTS
from tierwise.engines.closed_lists import WHAT, known_names
from tierwise.engines.closed_variables import choices_of
from tierwise.engines.denied_args import CLOSED
from tierwise.engines.extra_args import ALLOWED, REFUSED, SWITCH, TYPED

pytestmark = pytest.mark.conformance
COMPARED = ("env_with_choices", "env_list_with_choices", "env_set_with_choices")
_TEMPLATE = str(Path(__file__).with_name("template.jinja"))


def _as(release: str, spec: ModelTierSpec) -> ModelTierSpec:
    return spec.model_copy(update={"engine": Engine(version=f"{release}.0")})


def _served(release: str) -> dict[str, ModelTierSpec]:
    """Every case that this release can serve, whatever release it was written for."""
    moved = {name: _as(release, spec) for name, spec in specs().items()}
    return {name: spec for name, spec in moved.items() if not any(problem.fatal for problem in check(spec))}


def _here(given: tuple[str, ...]) -> list[str]:
    """With a template of this machine: the parser looks whether there is one, and the pod's is not here."""
    return [argument.replace(CHAT_TEMPLATE, _TEMPLATE) for argument in given]


def _extra(release: str) -> dict[str, list[str]]:
    minor = tuple(int(part) for part in release.split("."))
    lists = {}
    for name, allowed in ALLOWED.items():
        if minor >= allowed.since:
            given = [name if allowed.value == SWITCH else f"{name}={allowed.example}"]
            needed = ["--tool-call-parser=hermes"] if name == "--enable-auto-tool-choice" else []
            lists[f"extra {name}"] = ["org/repository", *given, *needed]
    return lists


@pytest.fixture(scope="module")
def answers(release: str) -> dict[str, Any]:
    lists = {name: _here(arguments(spec)) for name, spec in _served(release).items()} | _extra(release)
    lists["wrong: no template"] = ["org/repository", f"--chat-template={CHAT_TEMPLATE}"]
    lists["wrong: unknown"] = ["org/repository", "--no-such-option=1"]
    lists["wrong: value"] = ["org/repository", "--max-num-seqs=many"]
    lists["wrong: choice"] = ["org/repository", "--kv-offloading-backend=tape"]
    lists["wrong: schedule"] = [
        "org/repository",
        "--max-num-seqs=8",
        '--speculative-config={"num_speculative_tokens":2,"num_speculative_tokens_per_batch_size":[[2,8,2]]}',
    ]
    code: Path = vllm_code(release)
    return ask(vllm_python(), "vllm_parser.py", str(code), question=lists)


def test_every_argument_list_is_accepted(release: str, answers: dict[str, Any]) -> None:
    assert len(_served(release)) > 45
    refused = {name: answer["error"] for name, answer in answers.items() if name and "error" in answer}
    assert {name for name in refused if not name.startswith("wrong: ")} == set(), refused


def test_the_judge_refuses_what_is_wrong(answers: dict[str, Any]) -> None:
    wrong = {name for name in answers if name.startswith("wrong: ")}
    assert {name for name in wrong if "error" not in answers[name]} == set()
    assert len(wrong) == 5


def test_the_engine_understands_the_typed_fields(release: str, answers: dict[str, Any]) -> None:
    online = profile(Engine(version=f"{release}.0")).online_quantization
    for name, spec in _served(release).items():
        assert spec.model is not None
        values, method = answers[name]["values"], spec.quantization.method
        understood = {
            "model_tag": model_argument(spec.model),
            "served_model_name": [spec.model.name, ALIAS, *spec.model.aliases],
            "revision": spec.model.revision,
            "quantization": method if method in online else None,
            "kv_cache_dtype": spec.quantization.kv_cache_dtype,
            "tensor_parallel_size": spec.parallelism.tensor,
            "pipeline_parallel_size": spec.parallelism.pipeline,
            "max_num_seqs": spec.batching.max_sequences,
            "max_num_batched_tokens": spec.batching.max_batched_tokens,
            "max_num_queued_reqs": spec.batching.max_queued_requests,
            "max_model_len": spec.context_length,
            "enable_prefix_caching": spec.caching.prefix == "Enabled",
            "kv_offloading_size": spec.caching.kv_offload_gib or None,
            "kv_offloading_backend": "native",
            "shutdown_timeout": spec.drain_seconds,
            "enable_prompt_tokens_details": True,
            "trust_remote_code": spec.model.trust_remote_code == "Enabled",
            "chat_template": _TEMPLATE if spec.model.chat_template is not None else None,
            **_of_adapters(spec.model),
            "port": 8000,
        }
        assert {field: values[field] for field in understood} == understood, name


def _of_adapters(model: ModelSource) -> dict[str, object]:
    """What the engine must have understood of adapters; its own values without any."""
    if not model.adapters:
        return {"enable_lora": None, "lora_modules": None}
    return {
        "enable_lora": True,
        "max_loras": min(model.adapter_slots or MOST_SLOTS, len(model.adapters)),
        "max_cpu_loras": len(model.adapters),
    }


def test_the_engine_knows_adapters_by_name_and_place(release: str, answers: dict[str, Any]) -> None:
    modules = {
        name: [(each["name"], each["path"]) for each in answers[name]["values"]["lora_modules"]]
        for name, spec in _served(release).items()
        if spec.model is not None and spec.model.adapters
    }
    assert modules["adapters"] == [
        ("customer-a", "your-org/llama-customer-a-lora"),
        ("customer/b:2", "/mnt/adapters/1"),
        ("customer-c", "/mnt/adapters/2"),
    ]
    assert modules["adapters-pinned"] == [("customer-a", "/mnt/adapters/0")]
    assert answers["adapters"]["values"]["max_lora_rank"] == 64


def test_the_engine_reads_the_position_embeddings_that_are_said(answers: dict[str, Any]) -> None:
    assert answers["rope-override"]["values"]["hf_overrides"] == {
        "max_position_embeddings": 131072,
        "rope_parameters": {
            "factor": 4.0,
            "original_max_position_embeddings": 32768,
            "rope_theta": 1000000.0,
            "rope_type": "yarn",
        },
    }


def test_the_engine_knows_every_field_of_the_speculation(release: str, answers: dict[str, Any]) -> None:
    known = set(answers[""]["speculation_fields"])
    seen = set()
    for name, spec in _served(release).items():
        config = answers[name]["values"]["speculative_config"]
        assert (config is not None) == (spec.speculation.mode != "Disabled"), name
        if config is not None:
            assert set(config) <= known, name
            assert config["method"] == spec.speculation.method
            seen.add(config["method"])
    assert seen == profile(Engine(version=f"{release}.0")).speculation


def test_the_profile_says_what_the_release_says(release: str, answers: dict[str, Any]) -> None:
    known, ours = answers[""], profile(Engine(version=f"{release}.0"))
    assert ours.speculation <= set(known["speculation"])
    assert not set(ours.removed) & set(known["speculation"])
    assert ours.online_quantization == set(known["online_quantization"])
    assert ours.checkpoint_quantization <= set(known["quantization"])
    assert not ours.checkpoint_quantization & set(known["online_quantization"])
    assert ours.kv_cache_dtypes <= set(known["kv_cache_dtypes"])


# Asked for of every release: where there is no such series, nothing was rejected as far as anybody knows.
METRIC_SINCE = {"rejections": (0, 32)}


def test_every_metric_is_one_of_the_engine(release: str) -> None:
    code = vllm_code(release)
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((code / "vllm/v1").rglob("*.py")))
    metrics = profile(Engine(version=f"{release}.0")).metrics
    for field in fields(metrics):
        name = str(getattr(metrics, field.name))
        if field.name == "cache_info":
            name = name.removesuffix("_info")  # the engine adds the suffix of an info metric itself
        there = tuple(int(part) for part in release.split(".")) >= METRIC_SINCE.get(field.name, (0,))
        assert (f'"{name.removesuffix("_total")}' in text) == there, name


def test_every_listed_argument_exists(answers: dict[str, Any], release: str) -> None:
    options = set(answers[""]["options"])
    minor = tuple(int(part) for part in release.split("."))
    assert {name for name, allowed in ALLOWED.items() if minor >= allowed.since} <= options
    assert not {name for name, allowed in ALLOWED.items() if minor < allowed.since} & options
    if release == RELEASES[-1]:
        assert set(TYPED) | set(REFUSED) <= options


def test_every_option_of_the_release_has_been_looked_at(answers: dict[str, Any]) -> None:
    """Allowed, refused for a reason, or a typed field: a new release's new options fail here until somebody did."""
    known = {**ALLOWED, **TYPED, **REFUSED, **CLOSED}
    unknown: dict[str, list[str]] = {}
    for option, where in answers[""]["destinations"].items():
        unknown.setdefault(where, []).append(option)
    assert {where: names for where, names in unknown.items() if not known.keys() & set(names)} == {}


def test_no_allowed_option_is_another_name_of_a_closed_one(answers: dict[str, Any]) -> None:
    written: dict[str, str] = answers[""]["destinations"]
    allowed = {written[name] for name in ALLOWED if name in written}
    assert {name for name in (TYPED | REFUSED | CLOSED) if written.get(name) in allowed} == set()


def test_the_closed_options_exist_somewhere_and_stand_in_one_table() -> None:
    tables = [set(ALLOWED), set(TYPED), set(REFUSED), set(CLOSED)]
    assert sum(map(len, tables)) == len(set().union(*tables))
    options: set[str] = set()
    for release in RELEASES:
        answer = ask(vllm_python(), "vllm_parser.py", str(vllm_code(release)), question={})
        options |= set(answer[""]["options"])
    assert set(CLOSED) - options == set()


def test_every_profile_has_a_judge() -> None:
    assert tuple(each.release for each in profiles()) == RELEASES
    listed = {"none", *profiles()[-1].online_quantization, *profiles()[-1].checkpoint_quantization}
    assert listed == set(get_args(QuantizationMethod))


def test_the_names_are_those_of_the_release(release: str, answers: dict[str, Any]) -> None:
    theirs = answers[""]["closed_lists"]
    assert {option: list(known_names(option, profile(_engine(release)).minor)) for option in WHAT} == {
        option: theirs[option] for option in WHAT
    }


def test_the_values_of_the_variables_are_those_of_the_release(release: str) -> None:
    """Of all that its envs.py compares with a list."""
    theirs = {}
    for call in ast.walk(Source(vllm_code(release), "envs.py").tree):
        kind = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
        if not isinstance(call, ast.Call) or kind not in COMPARED or not isinstance(call.args[0], ast.Constant):
            continue  # where one of these functions calls another, the name is none yet
        literals = [ast.literal_eval(each) for each in call.args]
        given = dict(zip(("name", "default", "choices", "case_sensitive"), literals, strict=False))
        given |= {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
        several = kind != "env_with_choices"
        theirs[given["name"]] = (tuple(given["choices"]), given.get("case_sensitive", True), several)
    ours = choices_of(profile(_engine(release)).minor)
    assert {name: (each.values, each.case_sensitive, each.several) for name, each in ours.items()} == theirs
    assert len(theirs) > 10


def test_the_alternatives_of_an_argument_are_values_of_the_release(release: str, answers: dict[str, Any]) -> None:
    """Where an allowed value is one of several words, the release has them all; what it checks only later is left to
    the next test."""
    theirs, minor = answers[""]["closed_lists"], profile(_engine(release)).minor
    checked = 0
    for option, allowed in ALLOWED.items():
        if option in theirs and option not in WHAT and minor >= allowed.since:
            assert set(allowed.value.split("|")) <= set(theirs[option]), option
            checked += 1
    assert checked > 5


def _engine(release: str) -> Engine:
    return Engine(version=f"{release}.0")
