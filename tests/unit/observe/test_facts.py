"""Checks that the facts of nodes and repositories reach the tier that they are about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.observe import bodies
from tests.unit.observe.test_gpu_inventory import AN_L4, L4, T4, node
from tests.unit.observe.test_world import NOW, world
from tierwise.observe import Samples, World, observe
from tierwise.observe.tier_object import tier_object
from tierwise.types import TierView
from tierwise.types.capabilities import UNKNOWN, Facts, ModelShape
from tierwise.types.model_metadata import ModelMetadata, ModelMetadataSet, Repository, repositories

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL, DRAFT = Repository("org/m", COMMIT), Repository("org/draft")
BIG, SMALL = ModelShape(hidden_size=4096), ModelShape(hidden_size=64)


def tier(**changes: Any) -> dict[str, Any]:
    """A tier of org/m at a commit, drafted by org/draft, on nodes of zone a."""
    spec = {
        "model": {"name": "m", "uri": "hf://org/m", "revision": COMMIT},
        "speculation": {"mode": "Enabled", "method": "draft_model", "draftModel": "org/draft"},
        "placement": {"nodeSelector": {"zone": "a"}},
        **changes,
    }
    return bodies.tier(spec=spec)


def seen(publications: ModelMetadataSet, **changes: Any) -> TierView:
    nodes = [node({**L4, "zone": "a"}), node({**T4, "zone": "b"})]
    found: World = replace(world(tiers=[tier(**changes)]), nodes=nodes, publications=publications)
    return observe(found, Samples(), NOW).tiers[0]


def test_a_tier_has_the_gpus_of_its_nodes_and_the_shapes_of_its_models() -> None:
    said = ModelMetadataSet(
        {MODEL: ModelMetadata(BIG), DRAFT: ModelMetadata(SMALL), Repository("org/m"): ModelMetadata(SMALL)}
    )
    view = seen(said)
    assert view.facts == Facts((AN_L4,), BIG, SMALL)
    assert (view.metadata_error, view.metadata_pending) == ("", False)


def test_what_is_asked_and_what_could_not_be_read() -> None:
    assert seen(ModelMetadataSet({MODEL: ModelMetadata(BIG)}, frozenset({DRAFT}))).metadata_pending
    assert not seen(ModelMetadataSet(asking=frozenset({Repository("org/other")}))).metadata_pending
    view = seen(ModelMetadataSet({MODEL: ModelMetadata(BIG), DRAFT: ModelMetadata(None, "the hub answers 401")}))
    assert (view.facts, view.metadata_error) == (Facts((AN_L4,), BIG, None), "the hub answers 401")


def test_an_external_tier_has_no_facts() -> None:
    external = {"baseURL": "https://a.example/v1", "model": "x", "apiKeySecretRef": {"name": "k"}}
    prices = {"prices": {"input": "1", "output": "2"}}
    found = replace(world(tiers=[bodies.tier(spec={"external": external | prices})]), nodes=[node(L4)])
    assert observe(found, Samples(), NOW).tiers[0].facts == UNKNOWN


@pytest.mark.parametrize(
    ("changes", "model", "draft"),
    [
        ({}, MODEL, DRAFT),
        ({"speculation": {"mode": "Disabled", "draftModel": "org/draft"}}, MODEL, None),
        ({"speculation": {"mode": "Enabled", "method": "ngram"}}, MODEL, None),
        ({"model": {"name": "m", "uri": "hf://org/m"}}, Repository("org/m"), DRAFT),
        ({"model": {"name": "m", "uri": "hf://gpt2"}}, Repository("gpt2"), DRAFT),
        ({"model": {"name": "m", "uri": "pvc://claim/m"}}, None, DRAFT),
        ({"model": {"name": "m", "uri": "hf://org/a/b"}}, None, DRAFT),
        ({"model": {"name": "m", "uri": "hf://org/.."}}, None, DRAFT),
        ({"model": {"name": "m", "uri": "hf://org/a..b"}}, None, DRAFT),
        ({"model": {"name": "m", "uri": "hf://user:pw@host"}}, None, DRAFT),
        (
            {"model": {"name": "m", "uri": "hf://org/m", "revision": "refs/pr/1"}},
            Repository("org/m", "refs/pr/1"),
            DRAFT,
        ),
        ({"model": {"name": "m", "uri": "hf://org/m", "revision": "a/../b"}}, None, DRAFT),
    ],
)
def test_which_repositories_a_spec_names(changes: Any, model: Repository | None, draft: Repository | None) -> None:
    spec = tier_object(tier(**changes)).spec
    assert spec is not None
    assert repositories(spec) == (model, draft)


def test_only_a_commit_is_pinned() -> None:
    assert [each.pinned for each in (MODEL, DRAFT, Repository("a", COMMIT[:7]))] == [True, False, False]
    assert (str(MODEL), str(DRAFT)) == (f"org/m at {COMMIT}", "org/draft")
