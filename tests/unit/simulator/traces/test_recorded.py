"""Azure's and Mooncake's traces are read as they are, and what is wrong with them is said with its line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.simulator.traces.strategies import traces
from tierwise_sim.traces import azure, mooncake
from tierwise_sim.traces.arrival import Arrival, Trace
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.formats import read
from tierwise_sim.traces.gathering import Window

AZURE_2023 = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,0\n"
)
AZURE_2024 = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2024-05-10 00:00:00.009930+00:00,2162,5\n"
    "2024-05-10 00:00:00.017335+00:00,2399,6\n"
)
MOONCAKE = (
    '{"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]}\n'
    '{"timestamp": 1500, "input_length": 1024, "output_length": 7, "hash_ids": [0, 3]}\n'
)


def written(folder: Path, text: str | bytes, name: str = "trace") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_azure_2023(tmp_path: Path) -> None:
    trace = read(written(tmp_path, AZURE_2023))
    assert trace.arrivals == (Arrival(0.0, 374, 44), Arrival(4.314579, 396, 1))
    assert trace.duration == pytest.approx(2 * 4.314579)


def test_azure_2024(tmp_path: Path) -> None:
    assert read(written(tmp_path, AZURE_2024)).arrivals == (Arrival(0.0, 2162, 5), Arrival(0.007405, 2399, 6))


def test_mooncake(tmp_path: Path) -> None:
    trace = read(written(tmp_path, MOONCAKE))
    assert trace.arrivals == (Arrival(0.0, 1100, 5, (0, 1, 2), 512), Arrival(1.5, 1024, 7, (0, 3), 512))


@pytest.mark.parametrize("text", [AZURE_2023, AZURE_2024, MOONCAKE])
def test_a_compressed_file_a_mark_at_its_beginning_and_other_line_breaks_change_nothing(
    tmp_path: Path, text: str
) -> None:
    plain = read(written(tmp_path, text)).arrivals
    for other in (
        gzip.compress(text.encode()),
        b"\xef\xbb\xbf" + text.encode(),
        text.replace("\n", "\r\n\r\n").encode(),
    ):
        assert read(written(tmp_path, other)).arrivals == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "TIMESTAMP,ContextTokens\n2023-11-16 18:15:46,1\n",
            r"trace:1: no column GeneratedTokens; expected the columns",
        ),
        (AZURE_2023 + "2023-11-16 18:16,1\n", r"trace:4: 2 columns; expected 3, as in the header"),
        (AZURE_2023 + "yesterday,1,1\n", r"trace:4: TIMESTAMP is 'yesterday'; expected a time: ISO 8601"),
        (
            AZURE_2023 + "\n2023-11-16 18:16:00,-1,1\n",
            r"trace:5: ContextTokens is '-1'; expected a whole number from 0",
        ),
        (AZURE_2023 + "2023-11-16 18:16:00,1,1.5\n", r"trace:4: GeneratedTokens is '1.5'; expected a whole number"),
        (AZURE_2023 + "2023-11-16 18:16:00,1,nan\n", r"trace:4: GeneratedTokens is 'nan'; expected a number"),
        (AZURE_2023 + "2023-11-16 18:16:00,99999999999,1\n", r"trace:4: ContextTokens is .* from 0 to 20,000,000"),
        (AZURE_2023 + "2023-11-16 18:16:00,1,\n", r"trace:4: a number of tokens is missing"),
        (AZURE_2023 + "2033-11-16 18:16:00,1,1\n", r"trace:4: the request comes 3,653 days after the first; expected"),
        (AZURE_2023 + '2023-11-16 18:16:00,1,"1\n', r"trace:4: "),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", r"trace: no row holds a request; expected at least one request"),
    ],
)
def test_a_broken_azure_trace(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        azure.read(written(tmp_path, text))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"trace:3: no JSON .*; expected one JSON object per line"),
        ("[]", r"trace:3: a JSON list; expected one JSON object"),
        ('{"timestamp": 1, "input_length": 5, "output_length": 5}', r"trace:3: no hash_ids; expected the fields"),
        (
            '{"timestamp": -1, "input_length": 5, "output_length": 5, "hash_ids": []}',
            r"trace:3: timestamp is -1; expected",
        ),
        (
            '{"timestamp": 1, "input_length": 5, "output_length": 5, "hash_ids": 3}',
            r"trace:3: hash_ids is 3; expected a",
        ),
        (
            '{"timestamp": 1, "input_length": 5, "output_length": 5, "hash_ids": [1, 2]}',
            r"trace:3: a prefix of 2 blocks",
        ),
        (
            '{"timestamp": 1, "input_length": 5, "output_length": true, "hash_ids": []}',
            r"trace:3: output_length is True",
        ),
        ('{"timestamp": 1, "input_length": 5, "output_length": 5, "hash_ids": [-1]}', r"trace:3: hash_ids is -1"),
        (
            '{"timestamp": 1e15, "input_length": 5, "output_length": 5, "hash_ids": []}',
            r"trace:3: timestamp is 10000000",
        ),
    ],
)
def test_a_broken_mooncake_trace(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        mooncake.read(written(tmp_path, MOONCAKE + line + "\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; expected a trace"),
        (b"\n  \n", "the file is empty"),
        (AZURE_2023.encode() + b"\xff\xfe\n", r"trace:4: byte 1 is no UTF-8; expected text"),
        (gzip.compress((AZURE_2023 * 100).encode())[:60], r"trace:\d+: the gzip file is damaged"),
        (b"a,b\n1,2\n", r"trace:1: no known format begins like this; expected JSON, or a header of CSV: TIMESTAMP"),
    ],
)
def test_what_is_no_trace_at_all(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        read(written(tmp_path, content))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"none\.csv: cannot be read: No such file"):
        read(tmp_path / "none.csv")


def test_rows_out_of_order_are_sorted_and_counted(tmp_path: Path) -> None:
    trace = read(written(tmp_path, AZURE_2023 + "2023-11-16 18:15:48.680590,5,5\n2023-11-16 18:15:45.680590,6,6\n"))
    assert [(each.at, each.prompt_tokens) for each in trace.arrivals] == [(0, 6), (1, 374), (3, 5), (5.314579, 396)]
    assert trace.notes == ("2 of 4 requests stood out of order and were sorted",)


def test_a_window_is_read_alone_and_moved_to_0(tmp_path: Path) -> None:
    rows = "".join(f"2023-11-16 18:00:{second:02},{second + 1},1\n" for second in range(60))
    path = written(tmp_path, AZURE_2023.splitlines()[0] + "\n" + rows)
    trace = azure.read(path, Window(10, 20))
    assert [(each.at, each.prompt_tokens) for each in trace.arrivals] == [(n, 11 + n) for n in range(10)]
    assert trace.duration == 10
    assert azure.read(path, Window(50)).duration == 10
    with pytest.raises(TraceError, match="none of its 60 requests lies in the part"):
        azure.read(path, Window(60))


@pytest.mark.parametrize(("start", "end"), [(5, 5), (-1, 5), (6, 5), (float("nan"), 5)])
def test_a_window_in_which_nothing_can_be(start: float, end: float) -> None:
    with pytest.raises(TraceError, match="expected 0 <= from < to"):
        Window(start, end)


def _again(folder: Path, write: Callable[[Trace], object], trace: Trace) -> Trace:
    lines = write(trace)
    return read(written(folder, "".join(lines)))  # type: ignore[arg-type]


@given(trace=traces(step=1e-6))
def test_azure_written_and_read(tmp_path_factory: pytest.TempPathFactory, trace: Trace) -> None:
    again = _again(tmp_path_factory.mktemp("azure"), azure.write, trace)
    assert [(a.prompt_tokens, a.output_tokens) for a in again.arrivals] == [
        (a.prompt_tokens, a.output_tokens) for a in trace.arrivals
    ]
    assert [a.at for a in again.arrivals] == pytest.approx([a.at for a in trace.arrivals], abs=2e-6)


@given(trace=traces(step=1e-3, block_tokens=512))
def test_mooncake_written_and_read(tmp_path_factory: pytest.TempPathFactory, trace: Trace) -> None:
    again = _again(tmp_path_factory.mktemp("mooncake"), mooncake.write, trace)
    plain = [(a.prompt_tokens, a.output_tokens, a.prefix, a.block_tokens) for a in trace.arrivals]
    assert [(a.prompt_tokens, a.output_tokens, a.prefix, a.block_tokens) for a in again.arrivals] == plain
    assert [a.at for a in again.arrivals] == pytest.approx([a.at for a in trace.arrivals], abs=1e-6)


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_nothing_but_a_trace_error_comes_of_any_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = written(tmp_path_factory.mktemp("any"), content)
    for name in ("", "access-log", "azure", "mooncake", "trace", "usage"):
        error = _refusal(path, name)
        assert error is None or str(path) in error.message or path.name in error.message


def _refusal(path: Path, name: str) -> TraceError | None:
    try:
        read(path, name)
    except TraceError as error:
        return error
    return None
