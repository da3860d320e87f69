"""What a release has is data; an unknown release is an error that names the known ones."""

from __future__ import annotations

import pytest

from tierwise.api.modeltier import Engine
from tierwise.engines import profile, profiles
from tierwise.errors import Unsupported


def test_patch_releases_share_the_profile_of_their_minor_release() -> None:
    assert profile(Engine(version="0.33.0")) is profile(Engine(version="0.33.9"))
    assert profile(Engine(version="0.32.1")).release == "0.32"


def test_the_image_follows_the_version_unless_one_is_named() -> None:
    newest = profile(Engine())
    assert newest.image(Engine(version="0.33.2")) == "vllm/vllm-openai:v0.33.2"
    assert newest.image(Engine(image="mirror.example.com/vllm:1")) == "mirror.example.com/vllm:1"


def test_profiles_are_sorted_and_compare_releases_as_numbers() -> None:
    assert [each.release for each in profiles()] == ["0.30", "0.32", "0.33"]
    assert profile(Engine(version="0.30.0")).minor < (0, 100)


def test_removed_methods_are_in_no_later_release() -> None:
    newest = profile(Engine(version="0.33.0"))
    older = profile(Engine(version="0.32.0"))
    assert {"medusa", "mlp_speculator"} == set(newest.removed) - set(older.removed)
    for each in profiles():
        has = each.speculation | each.online_quantization | each.checkpoint_quantization | each.known_quantization
        assert not has & set(each.removed)
    assert {"medusa", "mlp_speculator"} <= profile(Engine(version="0.32.0")).speculation


@pytest.mark.parametrize(("name", "known"), [("vllm", "0.30, 0.32, 0.33"), ("other", "none")])
def test_an_unknown_release_names_the_known_ones(name: str, known: str) -> None:
    engine = Engine.model_construct(name=name, version="0.31.0")
    with pytest.raises(Unsupported, match=rf"engine {name} 0\.31\.0 is not known; known releases: {known}"):
        profile(engine)
