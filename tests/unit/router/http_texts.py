"""Makes requests as attackers write them: framed twice, framed badly, with another request where a body should be."""

from __future__ import annotations

from hypothesis import strategies as st

GOOD_FRAMES = [
    "Content-Length: {length}",
    "Transfer-Encoding: chunked",
    "Content-Length:\t{length}",
    "content-length:{length} ",
]
# What PortSwigger's and defparam's smugglers send, and what llhttp's own tests hold against it.
CODINGS = [
    "gzip, chunked", "chunked, identity", "identity", "xchunked", "\x0bchunked", "chunked ", "CHUNKED", "\tchunked",
    '"chunked"', "", ",chunked", "chunked,", "chun\r\n ked", "chunked\x00", "chunk\xe9d", "\xa0chunked", "chunked;q=1",
]  # fmt: skip
LENGTHS = [
    "+{length}",
    "{length},{length}",
    "{length}, 0",
    "0x5",
    "-1",
    "9999999999999999999",
    "",
    "{length}_0",
    "1e1",
    "{length}.0",
]
BAD_FRAMES = [
    *(f"Transfer-Encoding: {coding}" for coding in CODINGS),
    *(f"Content-Length: {length}" for length in LENGTHS),
    *(
        "Transfer-Encoding : chunked",
        "Transfer_Encoding: chunked",
        "\x00Transfer-Encoding: chunked",
        "Transfer-Encoding\r\n: chunked",
    ),
    *(" Transfer-Encoding: chunked", "X: y\r\n Transfer-Encoding: chunked", "X: y\nTransfer-Encoding: chunked"),
    *("X: y\rTransfer-Encoding: chunked", "X: y\r\n\tContent-Length: 0", "Content_Length: 0", "Content-Length: 0"),
]
GOOD_EXTRAS = [
    "Connection: keep-alive",
    "X: \xff",
    "X: a\tb",
    "X:",
    "Trailer: X",
    "X: {length}",
    "Keep-Alive: 1",
    "x: GET / HTTP/1.1",
]
BAD_EXTRAS = [
    *("Host: b", "Host: a/b", "Connection: close", "Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket", ": x"),
    *("Connection: Upgrade\r\nUpgrade: h2c", "HTTP2-Settings: x", "Expect: 100-continue", "X Y: z", "X: a\x01b"),
]
GOOD_CHUNKS = [
    "{size:x}\r\n{data}\r\n",
    "{size:x};a=b\r\n{data}\r\n",
    "0{size:X}\r\n{data}\r\n",
    '{size:x};a="b"\r\n{data}\r\n',
]
BAD_CHUNKS = [
    '{size:x};a="b\r\n"\r\n{data}\r\n',
    "{size:x}\n{data}\r\n", "{size:x}\r\n{data}\n", "{size:x} \r\n{data}\r\n",
    "{size:x}\r\n{data}", "+{size:x}\r\n{data}\r\n", "0x{size:x}\r\n{data}\r\n", "{size:x}\r{data}\r\n",
    "\r\n{data}\r\n",
    "fffffffffffffffff\r\n{data}\r\n", "{size:x};\r\n{data}\r\n", "{size:x};\n\r\n{data}\r\n", "{size:x}\r\n{data}xx",
]  # fmt: skip
GOOD_LASTS = ["0\r\n\r\n", "0\r\nX: y\r\n\r\n", "00\r\n\r\n"]
BAD_LASTS = [
    "0;a\r\n\r\n",
    "0\r\n",
    "0\n\n",
    "0\r\nContent-Length: 5\r\n\r\n",
    "\r\n",
    "0\r\n\rX",
    "0\r\n\n",
    "0\r\nX\r\n\r\n",
]
HIDDEN = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
INSERTED = [b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\x00", b"\x80", b":", b"0", b";", b",", b"-", b"chunked"]


def mostly(good: list[str], bad: list[str]) -> st.SearchStrategy[str]:
    """One of `good`, now and then one of `bad`: where every part is bad nothing is ever accepted."""
    return st.integers(0, 11).flatmap(lambda number: st.sampled_from(bad if number == 7 else good))


METHODS = mostly(
    ["POST", "POST", "GET", "PUT", "M-SEARCH"], ["HEAD", "OPTIONS", "CONNECT", "post", "PRI", "SOURCE", ""]
)
TARGETS = mostly(
    ["/", "/v1/chat/completions", "/a?b=c", "//x", "/%2e"], ["*", "http://h/", "h:1", "/a b", "/\x80", "", "/\t"]
)
VERSIONS = mostly(
    ["HTTP/1.1"] * 4 + ["HTTP/1.0"], ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "RTSP/1.0", "http/1.1", "HTTP/1.1 ", ""]
)
BODIES = st.one_of(st.text("ab\r\n0", max_size=12), st.just(HIDDEN), st.just("0\r\n\r\n" + HIDDEN))


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A request, well framed or not."""
    body = draw(BODIES)
    frames = [draw(mostly(GOOD_FRAMES, BAD_FRAMES))] if body or draw(st.booleans()) else []
    frames += draw(st.sampled_from([[]] * 12 + [[one] for one in GOOD_FRAMES + BAD_FRAMES]))
    hosts = draw(st.sampled_from([["Host: a"]] * 19 + [[]]))
    lines = draw(st.permutations([*frames, *hosts, *draw(st.lists(mostly(GOOD_EXTRAS, BAD_EXTRAS), max_size=2))]))
    head = "".join(f"{line}\r\n" for line in lines).replace("{length}", str(len(body)))
    if "chunked" in head.lower() and draw(st.integers(0, 6)):
        half = len(body) // 2
        parts = [data for data in (body[:half], body[half:]) if data]
        body = "".join(draw(mostly(GOOD_CHUNKS, BAD_CHUNKS)).format(size=len(data), data=data) for data in parts)
        body += draw(mostly(GOOD_LASTS, BAD_LASTS))
    before = draw(st.sampled_from([""] * 12 + ["\r\n", "\n", " "]))
    first = f"{draw(METHODS)} {draw(TARGETS)} {draw(VERSIONS)}"
    return f"{before}{first}\r\n{head}\r\n{body}".encode("latin-1")


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """Some requests behind each other, with bytes changed, taken away and put in."""
    data = bytearray(b"".join(draw(st.lists(messages(), min_size=1, max_size=3))))
    for _ in range(draw(st.sampled_from([0] * 6 + [1, 1, 3]))):
        place = draw(st.integers(0, len(data)))
        data[place : place + draw(st.integers(0, 2))] = draw(st.sampled_from(INSERTED))
    return bytes(data)
