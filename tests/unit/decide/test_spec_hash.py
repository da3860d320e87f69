"""Checks that a spec is kept as written, in a form that the next release understands."""

from __future__ import annotations

import hashlib
from typing import Any

from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide.spec_hash import canonical_spec, fingerprint

ENGINE = '"engine":{"name":"vllm","version":"0.33.0"}'


def spec(**changes: Any) -> ModelTierSpec:
    return ModelTierSpec.model_validate({"model": {"name": "m", "uri": "hf://org/new"}, **changes})


def test_what_was_said_and_makes_a_replica_is_kept_and_the_engine_always() -> None:
    """It stands in the status of users: its form is fixed. The default of the engine's version moves with our releases,
    so it is written out; defaults of the API do not."""
    assert canonical_spec(spec()) == f'{{{ENGINE},"model":{{"name":"m","uri":"hf://org/new"}}}}'
    said = spec(
        contextLength=1024,
        scaling={"maxReplicas": 3},
        extraArgs=["--reasoning-parser=ä"],
        caching={"kvOffloadGiB": 2},
        engine={"version": "0.32.0", "image": "registry.example/vllm:1"},
        replicas=2,
        rollout="Replace",
        price={"gpuHour": "9"},
        drainSeconds=7,
    )
    start = '{"caching":{"kvOffloadGiB":2},"contextLength":1024,'
    engine = '"engine":{"image":"registry.example/vllm:1","name":"vllm","version":"0.32.0"},'
    rest = '"extraArgs":["--reasoning-parser=ä"],"model":{"name":"m","uri":"hf://org/new"}}'
    assert canonical_spec(said) == f'{start}"drainSeconds":7,{engine}{rest}'
    assert canonical_spec(said, "drain_seconds") == f"{start}{engine}{rest}"


def test_it_can_be_read_again() -> None:
    said = spec(contextLength=1024, caching={"kvOffloadGiB": 2}, speculation={"mode": "Disabled"})
    assert ModelTierSpec.model_validate_json(canonical_spec(said)) == said


def test_a_field_that_was_said_and_holds_nothing_makes_no_other_replica() -> None:
    model = {"name": "m", "uri": "hf://org/new", "architecture": {}}
    assert canonical_spec(spec(model=model, speculation={"draftArchitecture": {}})) == canonical_spec(spec())


def test_the_fingerprint_is_of_the_text() -> None:
    assert fingerprint(canonical_spec(spec())) == hashlib.sha256(canonical_spec(spec()).encode()).hexdigest()[:12]
