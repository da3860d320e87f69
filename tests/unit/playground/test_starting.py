"""Checks what is prepared before a start, what is refused, and what the terminal says."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from playground import __main__ as terminal
from playground import handle, prepare
from playground.__main__ import further_images
from playground.cache import current_pointer
from playground.components import describe, kserve_certificates
from playground.control import ControlServer, ask
from playground.errors import PlaygroundError
from playground.inside import Orders
from playground.kubelet.images import load_table
from playground.layout import Layout
from playground.prometheus import configuration
from playground.supervisor import Supervisor


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "state")
    prepare.write(found, ("gpu-0", "cpu-0"), 4711, 2.5)
    prepare.write_images(found, {})
    return found


def _names(certificate: Path) -> set[str]:
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    found = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def test_certificates_cover_the_names_that_are_dialled(layout: Layout) -> None:
    assert {"10.200.0.1", "10.201.0.1", "127.0.0.1", "kubernetes.default.svc"} <= _names(layout.pki / "apiserver.crt")
    assert {"10.200.0.1", "gpu-0", "cpu-0"} <= _names(layout.state / "kubelet.crt")
    assert "kserve-webhook-server-service.kserve.svc" in _names(kserve_certificates(layout) / "tls.crt")


def test_every_file_that_a_component_is_given_exists(layout: Layout) -> None:
    """Flags that name a file under the state folder, except what the component itself writes."""
    written = {layout.data / "etcd", layout.data / "prometheus", layout.audit_log}
    given_files = set()
    for component in describe(layout, Path("/bin")).values():
        for argument in component.argv:
            value = argument.rpartition("=")[2]
            if value.startswith(str(layout.state)):
                given_files.add(Path(value))
    assert len(given_files) > 10
    assert {path for path in given_files - written if not path.exists()} == set()


def test_the_audit_policy_and_the_scrape_interval_are_as_asked(layout: Layout) -> None:
    policy = yaml.safe_load((layout.config / "audit-policy.yaml").read_text())
    assert policy["rules"][-1] == {"level": "Metadata"}
    scraping = json.loads((layout.config / "prometheus.json").read_text())
    assert scraping["global"]["scrape_interval"] == scraping["global"]["scrape_timeout"] == "2500ms"
    assert configuration(layout, 10)["global"]["scrape_interval"] == "10000ms"


@given(st.text(), st.lists(st.text()), st.integers(0, 65535), st.floats(0, 1e6), st.text())
def test_orders_arrive_as_they_were_given(
    state: str, nodes: list[str], number: int, seconds: float, token: str
) -> None:
    orders = Orders(state, "/bin", tuple(nodes), (number, number, number), number, seconds, token)
    assert Orders.load(orders.dump()) == orders


def test_without_a_folder_it_is_a_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder, temporary = handle._state_folder(None)
    assert temporary
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700


def test_somebody_else_s_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(PlaygroundError, match=r"not empty and no earlier playground's"):
        handle._state_folder(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_an_ended_playground_s_folder_is_used_again(layout: Layout) -> None:
    folder, temporary = handle._state_folder(layout.state)
    assert (folder, temporary) == (layout.state, False)
    assert not layout.state.exists()


async def test_a_running_playground_s_folder_is_refused(layout: Layout) -> None:
    server = await ControlServer(Supervisor(layout, {}, lambda _: None), layout.control_socket).serve()
    with pytest.raises(PlaygroundError, match=r"runs in .* already"):
        await asyncio.to_thread(handle._state_folder, layout.state)
    server.close()
    await server.wait_closed()


def test_removing_gets_past_read_only_volumes(tmp_path: Path) -> None:
    volume = tmp_path / "state" / "pods" / "volume"
    volume.mkdir(parents=True)
    (volume / "file").write_text("x")
    volume.chmod(0o500)
    handle.remove(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_kubectl_and_helm_see_only_this_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/mine")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    found = handle.tool_environment(tmp_path)
    assert found["KUBECONFIG"] == str(tmp_path / "host.kubeconfig")
    assert "HTTPS_PROXY" not in found
    assert found["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("kubectl get pods -o wide --all-namespaces", "get pods -o wide --all-namespaces"),
        ("kubectl --help", "--help"),
        ("exec -- curl -s x", "curl -s x"),
        ("control pause kube-apiserver", "pause kube-apiserver"),
        ("helm -n a list", "-n a list"),
    ],
)
def test_what_follows_a_tool_s_name_is_the_tool_s(line: str, rest: str) -> None:
    parsed = terminal.parser().parse_args(line.split())
    assert parsed.command == line.split()[0]
    assert " ".join(parsed.arguments) in (rest, f"-- {rest}")


def test_errors_end_with_code_1_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for line in (["kubectl", "get", "nodes"], ["control", "status"], ["exec", "id"]):
        assert terminal.main(line) == 1
        assert f"no playground is running\nStart one with: {sys.executable} -m playground up" in capsys.readouterr().err
    assert terminal.main(["up", "--scrape-interval", "0"]) == 1
    assert "must be positive" in capsys.readouterr().err
    assert terminal.main(["control"]) == 1
    assert "verbs: stop, kill, start" in capsys.readouterr().err


def test_an_unknown_command_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        terminal.main(["dance"])
    assert ended.value.code == 2
    assert "usage: python -m playground" in capsys.readouterr().err


def test_the_pointer_follows_the_playground_started_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("one", "two"):
        terminal.point_to(tmp_path / name)
    assert current_pointer() == tmp_path / "tierwise" / "current"
    assert Path(os.readlink(current_pointer())) == tmp_path / "two"
    assert [path.name for path in (tmp_path / "tierwise").iterdir()] == ["current"]


def test_every_command_has_a_line_of_help() -> None:
    commands = next(one for one in terminal.parser()._actions if isinstance(one, argparse._SubParsersAction))
    assert {choice.dest for choice in commands._choices_actions if not choice.help} == set()


def test_asking_gives_up_on_somebody_who_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with pytest.raises(PlaygroundError, match="does not answer"):
            ask(tmp_path / "s", "status", seconds=0.1)


def test_further_images_win_over_those_of_the_playground(layout: Layout, tmp_path: Path) -> None:
    file = tmp_path / "images.yaml"
    file.write_text("images: [{match: ['vllm/vllm-openai:*'], note: another, entrypoint: [serve]}]")
    prepare.write_images(layout, {"speed": 2}, further_images(file))
    table = load_table([prepare.IMAGES, layout.images], {})
    assert table.find("vllm/vllm-openai:v0.33.0").note == "another"
    assert "simulated" in table.find("vllm/vllm-openai@sha256:0").note


@pytest.mark.parametrize("text", ["images: [{match: []}]", "images: {", "[]"])
def test_a_file_that_is_no_table_of_images_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "images.yaml"
    file.write_text(text)
    with pytest.raises(PlaygroundError, match="is not a table of images"):
        further_images(file)
