"""Checks that another cluster is used when it is named, and that what it lacks skips a test instead of failing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from playground.errors import PlaygroundError
from tests.cluster.elsewhere import Elsewhere, elsewhere


def test_without_the_variable_there_is_none() -> None:
    assert elsewhere({}) is None
    assert elsewhere({"TIERWISE_TEST_KUBECONFIG": ""}) is None


def test_a_kubeconfig_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlaygroundError, match=r"TIERWISE_TEST_KUBECONFIG names no file: .*/absent"):
        elsewhere({"TIERWISE_TEST_KUBECONFIG": str(tmp_path / "absent")})


def test_what_only_the_playground_has_skips_the_test(tmp_path: Path) -> None:
    found = Elsewhere(tmp_path / "kubeconfig", tmp_path)
    with pytest.raises(pytest.skip.Exception, match="needs the playground's own audit_log"):
        _ = found.audit_log


def test_kubectl_is_asked_of_that_cluster(tmp_path: Path) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\nread -r line\necho "$@" "$line"\n[ "$3" != fail ]\n')
    kubectl.chmod(0o755)
    found = Elsewhere(tmp_path / "kubeconfig", tmp_path)
    assert found.kubectl("get", "nodes", stdin="text\n") == f"--kubeconfig {tmp_path}/kubeconfig get nodes text\n"
    with pytest.raises(PlaygroundError, match="kubectl fail failed"):
        found.kubectl("fail", stdin="text\n")
