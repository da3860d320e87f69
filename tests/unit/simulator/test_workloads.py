"""Checks that traces are read as they are, and that the built-in one has the published shape."""

from pathlib import Path

import pytest

from tierwise_sim import workloads
from tierwise_sim.workloads import Arrival, TraceError


def test_the_built_in_conversation_has_the_published_shape() -> None:
    """Azure 2023 conversation: medians 1,020 and 129, means 1,155 and 211, gaps varying by 1.09."""
    shape = workloads.shape(workloads.synthetic_conversation(3500, 5.5, 1))
    assert shape.requests == pytest.approx(19_250, rel=0.05)
    assert shape.prompt_median == pytest.approx(1020, rel=0.03)
    assert shape.output_median == pytest.approx(129, rel=0.05)
    assert shape.prompt_mean == pytest.approx(1155, rel=0.05)
    assert shape.output_mean == pytest.approx(211, rel=0.05)
    assert 1.02 < shape.gap_variation < 1.25


def test_the_built_in_workload_is_seeded_and_ordered() -> None:
    one, again, other = (workloads.synthetic_conversation(120, 2.0, seed) for seed in (1, 1, 2))
    assert one == again != other
    assert [a.at for a in one] == sorted(a.at for a in one)
    assert all(0 < a.at < 120 and a.prompt_tokens > 0 and a.output_tokens > 0 for a in one)


def test_a_short_run_still_rises_and_falls() -> None:
    arrivals = workloads.synthetic_conversation(600, 20.0, 3)
    thirds = [len(workloads.window(arrivals, start, 200)) for start in (0, 200, 400)]
    assert thirds[1] > 1.2 * thirds[0]
    assert thirds[1] > 1.2 * thirds[2]


def test_an_azure_trace(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,0\n"
    )
    arrivals = workloads.read_azure(file)
    assert [(a.prompt_tokens, a.output_tokens) for a in arrivals] == [(374, 44), (396, 1)]
    assert [a.at for a in arrivals] == pytest.approx([0.0, 4.314579])


def test_a_mooncake_trace(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text('{"timestamp": 1500, "input_length": 700, "output_length": 5, "hash_ids": [0, 7]}\n\n')
    assert workloads.read_mooncake(file) == (Arrival(1.5, 700, 5, (0, 7), workloads.PREFIX_BLOCK_TOKENS),)


def test_a_broken_trace_is_refused_with_file_and_line(tmp_path: Path) -> None:
    table, lines = tmp_path / "trace.csv", tmp_path / "trace.jsonl"
    table.write_text("TIMESTAMP,ContextTokens\n2023-11-16 18:15:46,1\n")
    lines.write_text("{}\n")
    with pytest.raises(TraceError, match=r"trace\.csv:1: no column GeneratedTokens"):
        workloads.read_azure(table)
    with pytest.raises(TraceError, match=r"trace\.jsonl:1: no timestamp"):
        workloads.read_mooncake(lines)


def test_the_data_folder_is_optional_but_must_exist(tmp_path: Path) -> None:
    assert workloads.data_folder({}) is None
    assert workloads.data_folder({"TIERWISE_DATA": str(tmp_path)}) == tmp_path
    with pytest.raises(TraceError, match="no such folder; unset it"):
        workloads.data_folder({"TIERWISE_DATA": str(tmp_path / "missing")})


def test_compressing_windowing_and_thinning() -> None:
    arrivals = tuple(Arrival(float(second), 10, 10) for second in range(100))
    assert [a.at for a in workloads.compress(arrivals[:3], 2)] == [0.0, 0.5, 1.0]
    assert [a.at for a in workloads.window(arrivals, 40, 3)] == [0.0, 1.0, 2.0]
    assert 10 < len(workloads.thin(arrivals, 0.3, 1)) < 50
    with pytest.raises(TraceError, match="no shape"):
        workloads.shape(arrivals[:2])
