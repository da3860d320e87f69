"""Checks with the real Go that a binary is built once and found afterwards, and that a failure shows the compiler's
message."""

from __future__ import annotations

import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from playground.binaries import BINARIES, Binary, Recipe, ensure
from playground.cache import cache_root
from playground.compiling import executable
from playground.errors import PlaygroundError
from playground.versions import KUBERNETES, PROMETHEUS, kubernetes_minor, pinned, release

TINY = Binary("tiny", "example.test/tool/cmd/tiny", "example.test/pinned", stamps=(("main.release", "v{release}"),))
OTHER = Binary("other", "example.test/tool/other/v3", "example.test/pinned", question=())

GO_MOD = """\
module example.test/tool

go 1.21

require (
	example.test/pinned v1.5.6
	k8s.io/kubernetes v1.2.3
)

replace (
	example.test/pinned => ./pinned
	k8s.io/kubernetes => ./kubernetes
)
"""
PROGRAM = 'package main\n\nvar release string\n\nfunc main() { print("it runs ", release) }\n'


@pytest.fixture(scope="module")
def gocache() -> Path:
    """Go's build cache as it is: HOME decides about it, not XDG_CACHE_HOME, once GOCACHE is set."""
    return Path(subprocess.run(["go", "env", "GOCACHE"], capture_output=True, text=True, check=True).stdout.strip())


@pytest.fixture
def recipe(tmp_path: Path, gocache: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Two small programs in place of the control plane, in a cache of their own."""
    tools = tmp_path / "tools"
    for folder in ("cmd/tiny", "other/v3", "pinned", "kubernetes"):
        (tools / folder).mkdir(parents=True)
    (tools / "go.mod").write_text(GO_MOD)
    (tools / "go.sum").write_text("")
    (tools / "pinned/go.mod").write_text("module example.test/pinned\n")
    (tools / "kubernetes/go.mod").write_text("module k8s.io/kubernetes\n")
    (tools / "cmd/tiny/main.go").write_text(PROGRAM)
    (tools / "other/v3/main.go").write_text(PROGRAM)
    monkeypatch.setenv("GOCACHE", str(gocache))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return Recipe((TINY, OTHER), tools, manifests=False)


def existing(folder: Path, name: str, answer: str) -> Path:
    """A program in a folder that answers every question so."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
    (folder / name).chmod(0o755)
    return folder / name


def test_the_second_time_says_nothing_and_starts_no_compiler(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    where = ensure(said.append, recipe=recipe)
    assert [path.name for path in sorted(where.iterdir())] == ["other", "tiny"]
    ran = {name: subprocess.run([where / name], capture_output=True, text=True).stderr for name in ("tiny", "other")}
    assert ran == {"tiny": "it runs v1.5.6", "other": "it runs "}
    built = {text.split(":")[0] for text in said if ": built after " in text}
    assert built in ({"tiny (1/2)", "other (2/2)"}, {"other (1/2)", "tiny (2/2)"})

    said.clear()
    monkeypatch.setenv("PATH", "")
    assert ensure(said.append, recipe=recipe) == where
    assert said == []


def test_a_failed_build_names_the_programs_shows_the_compiler_and_leaves_nothing(recipe: Recipe) -> None:
    (recipe.tools / "cmd/tiny/main.go").write_text("package main\n\nfunc main() { undefinedThing() }\n")
    with pytest.raises(PlaygroundError, match=r"(?s)building tiny, other .*exit code 1\n.*undefined: undefinedThing"):
        ensure(lambda _: None, recipe=recipe)
    assert list(recipe.folder().iterdir()) == []


def test_modules_that_cannot_be_fetched_are_told(recipe: Recipe) -> None:
    (recipe.tools / "cmd/tiny/main.go").write_text('package main\n\nimport _ "example.test/away"\n\nfunc main() {}\n')
    with pytest.raises(PlaygroundError, match=r"(?s)fetching Go modules failed .*example\.test/away"):
        ensure(lambda _: None, recipe=recipe)


def test_only_what_is_missing_is_built(recipe: Recipe) -> None:
    where = ensure(lambda _: None, recipe=recipe)
    (where / "tiny").unlink()
    before = (where / "other").stat().st_mtime_ns
    said: list[str] = []
    ensure(said.append, recipe=recipe)
    assert (where / "tiny").exists()
    assert (where / "other").stat().st_mtime_ns == before
    assert any(text.startswith("building tiny from source") for text in said)


def test_two_builders_at_once_build_once(recipe: Recipe) -> None:
    said: list[str] = []
    threads = [threading.Thread(target=ensure, args=(said.append,), kwargs={"recipe": recipe}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(text.startswith("building ") for text in said) == 1


def test_without_go_it_says_what_to_install(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PlaygroundError, match=r"Install Go 1\.26"):
        ensure(lambda _: None, recipe=recipe)


@pytest.mark.parametrize("users_own", [False, True])
def test_our_cache_of_compiled_packages_is_removed_after_a_build_and_the_users_is_not(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users_own: bool
) -> None:
    packages = cache_root() / "go-build"
    packages.mkdir(parents=True)
    if not users_own:
        monkeypatch.delenv("GOCACHE")
    existing(tmp_path / "there", "tiny", "1.5.6")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "there"))
    ensure(lambda _: None, recipe=replace(recipe, binaries=(TINY,)))
    assert packages.exists() == users_own


@pytest.mark.parametrize("changed", ["go.mod", "go.sum"])
def test_a_changed_pin_or_flag_is_another_folder(recipe: Recipe, changed: str) -> None:
    before = recipe.key()
    assert before.startswith("v1.2.3-")
    assert replace(recipe, binaries=(replace(TINY, stamps=()), OTHER)).key() != before
    with (recipe.tools / changed).open("a") as stream:
        stream.write("// changed\n")
    assert recipe.key() != before


@pytest.mark.parametrize("variable", ["PATH", "KUBEBUILDER_ASSETS"])
def test_a_program_of_the_pinned_release_is_used_and_said(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    found = existing(tmp_path / "there", "tiny", "tiny version v1.5.6+g1234 (somewhere)")
    monkeypatch.setenv(variable, f"{tmp_path / 'there'}", prepend=":" if variable == "PATH" else None)
    said: list[str] = []
    where = ensure(said.append, recipe=recipe)
    assert f"tiny: {found} is release 1.5.6, as pinned: used, not built" in said
    assert any(text.startswith("building other from source") for text in said)
    found.unlink()
    assert subprocess.run([where / "tiny"], capture_output=True, text=True).stdout.startswith("tiny version")


@pytest.mark.parametrize("answer", ["1.5.7", "1.5.60", "11.5.6", "v1.5.6-gke.1", "1.5.6.1", "dev\n1.5.6", ""])
def test_a_program_of_another_release_is_not_used(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    existing(tmp_path / "there", "tiny", answer)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "there"))
    said: list[str] = []
    where = ensure(said.append, recipe=recipe)
    assert any(text.startswith("building tiny, other from source") for text in said)
    assert subprocess.run([where / "tiny"], capture_output=True, text=True).stderr == "it runs v1.5.6"


def test_a_program_that_works_only_where_it_lies_is_not_used(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = existing(tmp_path / "there", "tiny", "")
    wrapper.write_text('#!/bin/sh\n. "$(dirname "$0")/settings"\necho "$ANSWER"\n')
    (tmp_path / "there/settings").write_text("ANSWER=1.5.6\n")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "there"))
    said: list[str] = []
    where = ensure(said.append, recipe=recipe)
    assert any(text.startswith("building tiny, other from source") for text in said)
    assert sorted(path.name for path in where.iterdir()) == ["other", "tiny"]


def test_a_program_whose_release_cannot_be_asked_is_always_built(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    existing(tmp_path / "there", "other", "1.5.6")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "there"))
    said: list[str] = []
    ensure(said.append, recipe=recipe)
    assert any(text.startswith("building tiny, other from source") for text in said)


def test_go_names_a_program_after_its_path() -> None:
    assert executable("example.test/server/v3") == "server"
    assert executable("example.test/cmd/manager") == "manager"
    assert executable("example.test/v3/cmd/vet") == "vet"


def test_every_program_has_a_pin_and_a_name_of_its_own() -> None:
    assert all(pinned(binary.module) for binary in BINARIES)
    assert len({executable(binary.package) for binary in BINARIES}) == len(BINARIES)


def test_helm_is_told_for_which_kubernetes_a_chart_is() -> None:
    minor = release(KUBERNETES).split(".")[1]
    flags = Recipe().job(BINARIES, Recipe().tools).programs["helm.sh/helm/v4/cmd/helm"]
    assert f"-X helm.sh/helm/v4/pkg/chart/common.k8sVersionMinor={minor}" in flags
    assert f"-X helm.sh/helm/v4/internal/version.version=v{release('helm.sh/helm/v4')}" in flags


def test_what_names_a_release_follows_the_pins(recipe: Recipe) -> None:
    assert release("example.test/pinned", recipe.tools) == "1.5.6"
    assert kubernetes_minor(recipe.tools) == "1.2"
    assert pinned(KUBERNETES) == f"v{release(KUBERNETES)}"
    assert release(PROMETHEUS).startswith("3.")
    with pytest.raises(PlaygroundError, match=r"go\.mod requires no example\.test/unknown"):
        pinned("example.test/unknown", recipe.tools)


def test_the_cache_follows_the_base_directory_specification() -> None:
    home = Path.home()
    assert cache_root({"XDG_CACHE_HOME": "/somewhere"}) == Path("/somewhere/tierwise")
    assert cache_root({}) == home / ".cache" / "tierwise"
    assert cache_root({"XDG_CACHE_HOME": "relative"}) == home / ".cache" / "tierwise"


def test_a_recipe_with_a_base_builds_its_own_and_links_the_rest(recipe: Recipe, tmp_path: Path) -> None:
    (recipe.folder() / "kserve").mkdir(parents=True)
    base = replace(recipe, manifests=True)
    tools = tmp_path / "other"
    shutil.copytree(recipe.tools, tools)
    (tools / "go.mod").write_text(GO_MOD.replace("v1.5.6", "v1.6.0"))
    where = ensure(lambda _: None, recipe=Recipe((TINY,), tools, manifests=False, base=base))
    ran = {name: subprocess.run([where / name], capture_output=True, text=True).stderr for name in ("tiny", "other")}
    assert ran == {"tiny": "it runs v1.6.0", "other": "it runs "}
    assert (where / "other").resolve() == base.folder() / "other"
    assert (where / "kserve").is_dir()
    said: list[str] = []
    ensure(said.append, recipe=Recipe((TINY,), tools, manifests=False, base=base))
    assert said == []
