"""Checks that the forwarder relays bytes both ways, takes turns, and refuses when there is no endpoint."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from playground.services.relay import Forwarder
from playground.services.routing import Address


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@asynccontextmanager
async def upstream(name: bytes) -> AsyncIterator[Address]:
    """A server that says its name, then echoes until the client has said everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name)
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write(b"end")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])


async def say(address: Address, message: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(message)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_endpoints_take_turns_and_a_half_closed_connection_still_answers() -> None:
    service, forwarder = Address("127.0.0.1", free_port()), Forwarder()
    async with upstream(b"a") as one, upstream(b"b") as two:
        assert await forwarder.update({service: (one, two)})
        answers = [await say(service, b"hi") for _ in range(4)]
        assert sorted(answers) == [b"ahiend", b"ahiend", b"bhiend", b"bhiend"]
        assert answers[0] != answers[1]
        assert await forwarder.update({})
        with pytest.raises(ConnectionRefusedError):
            await say(service, b"")


async def test_much_data_passes_unchanged() -> None:
    service, forwarder = Address("127.0.0.1", free_port()), Forwarder()
    data = bytes(range(256)) * 20_000
    async with upstream(b"") as one:
        await forwarder.update({service: (one,)})
        reader, writer = await asyncio.open_connection(service.host, service.port)

        async def send() -> None:
            writer.write(data)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        assert await reader.read() == data + b"end"
        await sending
        writer.close()
        await forwarder.update({})


async def test_an_endpoint_that_refuses_resets_the_client() -> None:
    service, forwarder = Address("127.0.0.1", free_port()), Forwarder()
    await forwarder.update({service: (Address("127.0.0.1", free_port()),)})
    with pytest.raises(ConnectionResetError):
        await say(service, b"x")
    await forwarder.update({})


async def test_an_address_in_use_is_reported_and_tried_again() -> None:
    forwarder = Forwarder()
    async with upstream(b"a") as one:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            service = Address("127.0.0.1", taken.getsockname()[1])
            assert not await forwarder.update({service: (one,)})
        assert await forwarder.update({service: (one,)})
        assert await say(service, b"") == b"aend"
        await forwarder.update({})
