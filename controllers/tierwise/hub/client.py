"""Reads a model's metadata from its repository on a hub.

It reads two small files from the hub that the operator is configured with: config.json, and the beginning of
model.safetensors.index.json, which holds the size of all weights. This is the operator's only request to the world
outside the cluster, so it is narrow:

- The host is the operator's own setting. A tier names a repository and a revision, both checked against a pattern and
  quoted; everything else of the path is fixed. So nobody can make the operator call an address of their choice.
- A redirect is followed only to the hub itself, or over https to a host below it (a CDN), at most three times;
  huggingface.co also has its files below hf.co. Anything else counts as no answer.
- No token is sent, since the operator reads no Secrets: a gated model stays unknown.
- Size and time are limited, and only numbers and short words of an answer are kept.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from yarl import URL

from tierwise.errors import Invalid, Refused, Transient
from tierwise.types.model_metadata import Repository

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
CONFIG_BYTES = 1024 * 1024
# The index lists every tensor (9 MB for a model of many experts); what is read of it stands at its beginning.
INDEX_BYTES = 64 * 1024
# Of the time for both files: where no index can be reached, many repositories must still be read while tiers wait.
INDEX_SHARE = 0.3
REDIRECTS = 3
_ALSO = {"huggingface.co": "hf.co"}  # where its storage is
_SIZES = re.compile(rb'"(total_size|total_parameters)"\s*:\s*([0-9]{1,18})\b')
_WORDS = {401: "it is gated, private or does not exist", 403: "it is gated or private", 404: "it does not exist"}


@dataclass(frozen=True, slots=True)
class HubFiles:
    """What a repository says: its config.json, and the same of its index as far as it is read (None: it has none)."""

    config: Mapping[str, Any]
    index: Mapping[str, Any] | None = None


class HubClient:
    """A Hugging Face-compatible hub (huggingface.co, a mirror, an Artifactory) at a fixed URL."""

    def __init__(self, url: str, *, ca_file: Path | None = None, timeout_seconds: float = 10.0) -> None:
        """`url`: scheme, host and perhaps a path, as the operator's settings have checked it. `ca_file`: who may
        have signed the hub's certificate, besides the public authorities. `timeout_seconds`: for both files."""
        self._url = url.rstrip("/")
        self._ca_file = ca_file
        self._timeout = timeout_seconds

    async def read(self, repository: Repository) -> HubFiles:
        """The files of a repository. Raises Refused (the hub says no), Invalid (an answer that is of no use) or
        Transient (no answer); the messages name the repository and never what was answered."""
        now = asyncio.get_running_loop().time
        deadline = now() + self._timeout
        async with self._session() as session:
            try:
                async with asyncio.timeout_at(deadline):
                    config = _parsed(repository, await self._get(session, repository, CONFIG, CONFIG_BYTES + 1))
            except TimeoutError as error:
                raise Transient(f"{self._host} does not answer in {self._timeout:g} s") from error
            except aiohttp.ClientConnectorCertificateError as error:
                raise Transient(
                    f"{self._host}: its certificate is not trusted: check the chart value hub.caConfigMap"
                ) from error
            except (aiohttp.ClientError, OSError) as error:
                raise Transient(f"{self._host} cannot be reached") from error
            # Most small models have no index, and the shape tells nearly as much: no trouble with it (large files are
            # kept on other hosts, which may be out of reach) takes away what config.json has said.
            try:
                async with asyncio.timeout_at(min(deadline, now() + self._timeout * INDEX_SHARE)):
                    index = _index(await self._get(session, repository, INDEX, INDEX_BYTES))
            except (Refused, Transient, Invalid, aiohttp.ClientError, OSError):  # TimeoutError is an OSError
                index = None
        return HubFiles(config, index)

    @property
    def _host(self) -> str:
        return urlsplit(self._url).netloc

    def _session(self) -> aiohttp.ClientSession:
        # Without trust_env: it would also read a .netrc, and send what stands there.
        connector = aiohttp.TCPConnector(ssl=self._trusted()) if self._ca_file is not None else None
        jar = aiohttp.DummyCookieJar()
        return aiohttp.ClientSession(headers={"User-Agent": "tierwise"}, cookie_jar=jar, connector=connector)

    def _trusted(self) -> ssl.SSLContext:
        """The authorities, read anew each time: a mounted ConfigMap changes."""
        context = ssl.create_default_context()
        try:
            context.load_verify_locations(self._ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Transient(f"the CA file {self._ca_file} of the hub cannot be read: check hub.caConfigMap") from error
        return context

    async def _get(self, session: aiohttp.ClientSession, repository: Repository, file: str, most: int) -> bytes:
        """The first `most` bytes of a file."""
        url = f"{self._url}/{quote(repository.name)}/resolve/{quote(repository.revision, safe='')}/{file}"
        for _ in range(REDIRECTS + 1):
            # encoded: a quoted slash in a revision must not become a slash
            async with session.get(URL(url, encoded=True), allow_redirects=False) as answer:
                if answer.status in (301, 302, 303, 307, 308):
                    url = self._followed(repository, url, answer.headers.get("Location", ""))
                    continue
                if answer.status != 200:
                    raise self._refusal(repository, answer.status)
                return await _beginning(answer.content, most)
        raise Invalid(f"{self._host} redirects {repository} in circles")

    def _followed(self, repository: Repository, at: str, location: str) -> str:
        """Where a redirect leads, if it may; raises Invalid otherwise, without naming the place."""
        elsewhere = Invalid(f"{self._host} redirects {repository} to another host")
        try:
            url = urljoin(at, location)
            hub, target = urlsplit(self._url), urlsplit(url)
        except ValueError as error:  # no URL at all
            raise elsewhere from error
        if (target.scheme, target.netloc) == (hub.scheme, hub.netloc):
            return url
        own = hub.hostname or ""
        below = [f".{own}"] + ([f".{_ALSO[own]}"] if own in _ALSO else [])
        host = target.hostname or ""
        if target.scheme == "https" and "@" not in target.netloc and any(host.endswith(each) for each in below):
            return url
        raise elsewhere

    def _refusal(self, repository: Repository, status: int) -> Exception:
        if status == 429 or status >= 500:
            return Transient(f"{self._host} answers {status}")
        word = _WORDS.get(status, "it cannot be read")
        return Refused(f"{self._host} answers {status} for {repository}: {word}", status=status)


async def _beginning(stream: aiohttp.StreamReader, most: int) -> bytes:
    read = b""
    while len(read) < most:
        part = await stream.read(most - len(read))
        if not part:
            break
        read += part
    return read


def _parsed(repository: Repository, data: bytes) -> Mapping[str, Any]:
    if len(data) > CONFIG_BYTES:
        raise Invalid(f"the config.json of {repository} is longer than {CONFIG_BYTES // 1024} KiB")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the config.json of {repository} is not JSON") from error
    if not isinstance(found, dict):
        raise Invalid(f"the config.json of {repository} is not an object")
    return found


def _index(data: bytes) -> Mapping[str, Any] | None:
    """The metadata of the index: all that is read of it, since it stands first and the rest may be long."""
    found = {name.decode(): int(number) for name, number in _SIZES.findall(data.partition(b'"weight_map"')[0])}
    return {"metadata": found} if found else None
