"""What the engine would refuse after minutes is refused at once; what only fails to pay is advice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.engines.test_arguments import MODEL, spec
from tierwise import reasons
from tierwise.engines import Finding, check


def findings(**fields: Any) -> list[Finding]:
    """What is found, but for the one that every speculation has."""
    return [problem for problem in check(spec(**fields)) if problem.reason != reasons.CONTRACT_CHANGES]


def only(**fields: Any) -> Finding:
    found = findings(**fields)
    assert len(found) == 1, found
    return found[0]


def test_a_plain_spec_has_no_findings() -> None:
    assert check(spec()) == ()


@pytest.mark.parametrize("uri", ["hf://a/b/c", "hf://Qwen/Qwen3-8B@main", "hf://Qwen/Qwen3-8B:main", "hf://a/.hidden"])
def test_a_repository_is_organisation_and_name(uri: str) -> None:
    problem = only(model=MODEL | {"uri": uri})
    assert (problem.reason, problem.fatal) == (reasons.INVALID_SPEC, True)
    assert "model.revision" in problem.message


def test_a_repository_without_an_organisation_is_one() -> None:
    assert check(spec(model=MODEL | {"uri": "hf://gpt2"})) == ()


def test_a_revision_without_revisions_is_advice() -> None:
    problem = only(model=MODEL | {"uri": "s3://bucket/key", "revision": "main"})
    assert problem == Finding(
        reasons.NO_EFFECT, "model.revision has no effect on s3://: only hf:// has revisions", fatal=False
    )
    assert check(spec(model=MODEL | {"uri": "s3://bucket/key"})) == ()


@pytest.mark.parametrize("method", ["medusa", "mlp_speculator"])
def test_removed_methods_name_the_way_out(method: str) -> None:
    problem = only(speculation={"mode": "Enabled", "method": method, "draftModel": "a/b"})
    assert (problem.reason, problem.fatal) == (reasons.UNSUPPORTED, True)
    assert problem.message == (
        f"vllm 0.33 does not have speculation.method {method}: use eagle3, or engine.version 0.32"
    )
    older = {"engine": {"version": "0.32.0"}}
    assert findings(**older, speculation={"mode": "Enabled", "method": method, "draftModel": "a/b"}) == []


def test_methods_that_no_release_has() -> None:
    tier = spec()
    strange = tier.quantization.model_copy(update={"method": "gguf", "kv_cache_dtype": "int2"})
    found = check(tier.model_copy(update={"quantization": strange}))
    assert [problem.message for problem in found] == [
        "vllm 0.33 does not have quantization.method gguf: use the original checkpoint, or an awq or gptq one",
        "vllm 0.33 does not have quantization.kvCacheDtype int2",
    ]


def test_a_disabled_speculation_is_not_judged() -> None:
    assert check(spec(speculation={"mode": "Disabled", "method": "medusa"})) == ()
    assert check(spec(speculation={"mode": "Auto"})) == ()


def test_a_draft_model_where_it_is_needed_and_where_it_is_not() -> None:
    older = {"version": "0.30.0"}
    problem = only(engine=older, speculation={"mode": "Enabled", "method": "medusa"})
    assert problem.fatal
    assert "speculation.draftModel is required" in problem.message
    assert not only(speculation={"mode": "Enabled", "method": "ngram", "draftModel": "a/b"}).fatal
    assert only(speculation={"mode": "Enabled", "method": "mtp", "draftModel": "a/b"}).reason == reasons.NO_EFFECT


def test_suffix_needs_its_package_and_knows_no_schedule() -> None:
    messages = [problem.message for problem in findings(speculation={"mode": "Auto", "method": "suffix"})]
    assert ["arctic-inference" in message for message in messages] == [True, False]
    assert ["ignores a schedule" in message for message in messages] == [False, True]
    own = {"image": "registry.example.com/vllm-with-arctic:1"}
    named = only(engine=own, speculation={"mode": "Enabled", "method": "suffix"})
    assert (named.reason, named.fatal) == (reasons.NEEDS_PACKAGE, False)
    assert "make sure that engine.image has it" in named.message


@pytest.mark.parametrize("starts", [[2, 4], [1, 4, 4], [1, 8, 4]])
def test_a_schedule_begins_at_one_and_grows(starts: list[int]) -> None:
    steps = [{"fromBatch": start, "tokens": 2} for start in starts]
    assert only(speculation={"mode": "Auto", "method": "ngram", "schedule": steps}).reason == reasons.INVALID_SPEC


def test_a_schedule_that_never_drafts_and_one_that_is_never_reached() -> None:
    never = [{"fromBatch": 1, "tokens": 0}]
    assert only(speculation={"mode": "Auto", "method": "ngram", "schedule": never}).fatal
    beyond = [{"fromBatch": 1, "tokens": 2}, {"fromBatch": 129, "tokens": 0}]
    assert not only(speculation={"mode": "Auto", "method": "ngram", "schedule": beyond}).fatal


def test_quantization_that_may_not_pay() -> None:
    assert "experts" in only(quantization={"method": "int8_per_channel_weight_only"}).message
    assert "evaluate" in only(quantization={"method": "awq"}, contextLength=65536).message
    assert check(spec(quantization={"method": "awq"}, contextLength=65535)) == ()
    assert check(spec(quantization={"method": "fp8_per_channel"}, contextLength=131072)) == ()


def test_fatal_findings_come_first() -> None:
    found = check(spec(quantization={"method": "awq"}, contextLength=65536, extraArgs=["--port=1"]))
    assert [problem.fatal for problem in found] == [True, False]


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--trust-remote-code", "--trust-remote-code is not allowed: use model.trustRemoteCode"),
        ("--chat-template=/etc/passwd", "--chat-template is not allowed: use model.chatTemplate"),
        ("--middleware=os.system", "--middleware is not allowed: it names Python objects to run"),
        ("--api-key=secret", "--api-key is not allowed: arguments are readable"),
        ("--config=/tmp/x.yaml", "--config is not allowed: a file could set every refused argument"),
        ("--allowed-local-media-path=/", "--allowed-local-media-path is not allowed: it lets requests read files"),
        ("--tool-server=demo", "--tool-server is not allowed: it lets requests call other servers"),
        ("--host=127.0.0.1", "--host is not allowed: the pod's address is fixed"),
        ("--max-model-len=1", "--max-model-len is not allowed: use contextLength"),
        ("--max-num-se=1", "--max-num-se is not on the list of allowed arguments"),
        ("--enforce-eager=1", "--enforce-eager takes no value"),
        ("--seed", "--seed needs a value: --seed=7"),
        ("--seed=-1", "--seed: '-1' is not an accepted value"),
        ("--seed=$(HF_TOKEN)", "--seed: the value must not hold control characters"),
        ("--limit-mm-per-prompt={", "--limit-mm-per-prompt takes a JSON object"),
        ("--limit-mm-per-prompt=[1]", "--limit-mm-per-prompt takes a JSON object"),
        ('--override-generation-config={"a":"$(HF_TOKEN)"}', "the value must not hold control characters, $("),
        ("--dtype=bfloat16 --port=1", "--dtype: 'bfloat16 --port=1' is not an accepted value"),
        ("--load-format=pt", "--load-format: 'pt' is not an accepted value"),
        ("--enable-auto-tool-choice", "--enable-auto-tool-choice needs --tool-call-parser=NAME"),
    ],
)
def test_extra_arguments_that_are_refused(argument: str, complaint: str) -> None:
    problem = only(extraArgs=[argument])
    assert problem.fatal
    assert complaint in problem.message
    assert "secret" not in problem.message


def test_extra_arguments_depend_on_the_release_and_come_once() -> None:
    later = ["--max-num-active-seqs=4"]
    assert check(spec(extraArgs=later)) == ()
    assert only(engine={"version": "0.30.0"}, extraArgs=later).message == (
        "extraArgs: --max-num-active-seqs needs vllm 0.32 or later"
    )
    assert only(extraArgs=["--seed=1", "--seed=2"]).message == "extraArgs: --seed is given twice"
    assert check(spec(extraArgs=['--limit-mm-per-prompt={"image":2}', "--enforce-eager"])) == ()
