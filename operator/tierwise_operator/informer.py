"""Keeps the process informed about the cluster, and restarts kopf when it ends.

kopf is used as an informer and as nothing else: indices hold one small record per object, events wake the loop. There
are no timers, daemons, finalizers or create/update handlers, so kopf writes nothing to anybody's object.

kopf runs in a thread with an event loop of its own, for three reasons: it ends when a kind disappears (a deleted
ModelTier CRD, 404), and is then started again here; at its end it cancels every task of its loop, also those that are
not its own; and in the main thread it would take the process' signals. Its own loop copies out what it knows, so nobody
reads an index while it changes.

Two things kopf does not notice: an object stays in the index if it was deleted while its watch was broken for so long
that kopf had to list again (410); and an object that was created or changed is missing if its event was lost. So after
each re-list, and every few minutes, what was heard is compared with a list of what exists. What does not exist is left
out, and when something has been missing for long, all watches begin again.

kopf also does not report that it has listed every kind. The first event shows it; where there is no object there is no
event, and a list of our own shows it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import aiohttp
import kopf
from kubernetes.aio.client import Configuration

from tierwise.api.kinds import MODEL_TIER
from tierwise.api.modeltier import API_VERSION
from tierwise.errors import Gone, TierwiseError
from tierwise.kube import connection
from tierwise.kube.client import KubernetesCluster
from tierwise.kube.transport import ApiTransport
from tierwise.runtime.backoff import delays
from tierwise.runtime.clock import SystemClock
from tierwise_operator.kopf_handlers import WatchedKind, kopf_settings, register
from tierwise_operator.settings import Settings

logger = logging.getLogger(__name__)

RESYNC_SECONDS = 300.0
# Between two comparisons while the server makes kopf list again and again.
COMPARE_SECONDS = 5.0
# Longer than the longest pause between two tries of a watch: what has stood for so long is heard, or was missed.
HEARD_SECONDS = 45.0
SETTLE_SECONDS = 2.0
ABSENT_SECONDS = 10.0
STOP_SECONDS = 10.0
END_SECONDS = 5.0
_LOGIN_PAUSE_SECONDS = 5.0

Records = Mapping[str, tuple[Any, ...]]


class Informer:
    """The records of some kinds, by the kinds' names."""

    def __init__(self, settings: Settings, kinds: tuple[WatchedKind, ...], wake: Callable[[], object]) -> None:
        """`wake` is called from another thread."""
        self._settings = settings
        self._kinds = kinds
        self._wake = wake
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="informer", daemon=True)
        self._indices: Mapping[str, kopf.Index[str, Any]] = {}
        self._ghosts: set[str] = set()
        self._heard_of: dict[str, str] = {}  # resource versions, by UID
        self._unheard: dict[tuple[str, str], float] = {}  # UID and resource version, and since when
        self._synced = False
        self.problem = "the informer is starting"

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    async def records(self) -> Records | None:
        """What exists, by kind; None while not every kind has been listed (so that nothing looks deleted)."""
        loop = self._loop
        if loop is None or not self._thread.is_alive():
            return None
        asked = asyncio.run_coroutine_threadsafe(self._copy(), loop)
        try:
            return await asyncio.wrap_future(asked)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return None  # the informer's own loop ended meanwhile, not we

    async def stop(self) -> None:
        """End the watches and the thread."""
        self._ending.set()
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, STOP_SECONDS)

    async def _copy(self) -> Records | None:
        if not self._synced:
            return None
        return {
            kind.name: tuple(
                record for uid, store in self._indices[kind.name].items() if uid not in self._ghosts for record in store
            )
            for kind in self._kinds
        }

    def _run(self) -> None:
        pauses = delays()
        while not self._ending.is_set():
            try:
                self._run_once()
            except Exception as error:
                self.problem = f"the informer has failed and is started again: {type(error).__name__}: {error}"
                logger.exception("the informer has failed and is started again")
                self._ending.wait(next(pauses))

    def _run_once(self) -> None:
        try:
            asyncio.run(self._watch_for_ever())
        finally:
            # At once, not after the pause: nobody may ask a loop that is closed.
            self._synced, self._loop = False, None

    async def _watch_for_ever(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(self._unhandled)
        if self._ending.is_set():
            return
        configuration = await connection.load(self._settings.kubeconfig, self._settings.context)
        async with connection.client(configuration) as client:
            cluster = KubernetesCluster(ApiTransport(client), SystemClock(), instance=self._settings.identity)
            wire = ApiTransport(client)
            pauses = delays()
            while not self._stop.is_set():
                if await self._served(wire):
                    started = time.monotonic()
                    await self._watch(configuration, cluster)
                    pauses = delays() if time.monotonic() - started > ABSENT_SECONDS else pauses
                    await self._pause(next(pauses))
                else:
                    await self._pause(ABSENT_SECONDS)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # kopf 1.45.2 stumbles over its own watches when it is stopped while one is just being opened (it asks a
        # callback for its task). We end them all ourselves, so at the end that is no news.
        if self._ending.is_set():
            logger.debug("while ending: %s", context.get("message"))
        else:
            loop.default_exception_handler(context)

    async def _served(self, wire: ApiTransport) -> bool:
        """Whether the cluster knows ModelTiers. kopf looks only once, at its start. The group alone says nothing: it is
        there as long as another kind of ours is."""
        kinds: set[str] = set()
        try:
            found = await wire.call("look for ModelTiers", "GET", f"/apis/{API_VERSION}")
            kinds = {str(each.get("name")) for each in found.get("resources") or ()}
        except Gone:
            logger.debug("no kind of ours is installed")
        except TierwiseError as error:
            self._say(error.message)
            return False
        if MODEL_TIER.plural in kinds:
            return True
        self._say("the ModelTier CRD is not installed: `tierwise crds | kubectl apply --server-side -f -`")
        return False

    def _say(self, problem: str) -> None:
        if problem != self.problem:
            logger.warning("%s", problem)
            self.problem = problem

    async def _watch(self, configuration: Configuration, cluster: KubernetesCluster) -> None:
        """One life of kopf; returns when it ends for whatever reason."""
        assert self._stop is not None  # noqa: S101  (set before; for the type checker)
        self.problem = "the objects of the cluster have not been listed yet"
        sessions: list[aiohttp.ClientSession] = []
        asked = _Asked(asyncio.Event())
        registry = kopf.OperatorRegistry()
        register(registry, self._kinds, self._started, self._heard, self._changed)
        kopf.on.login(registry=registry)(_login(configuration, sessions, asked))
        existing = asyncio.all_tasks()
        resync = asyncio.create_task(self._keep_in_step(cluster, asked), name="resync")
        namespaces = self._settings.namespaces
        try:
            tasks = await kopf.spawn_tasks(
                registry=registry,
                settings=kopf_settings(self._kinds),
                identity="tierwise",  # type: ignore[arg-type]  # its own guess looks hosts and users up
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=self._stop,
            )
            # Not kopf.run_tasks: when one watch has failed, it closes the connections first and then waits for ever
            # for the other watches to log in again (seen in 1.45.2).
            done, _ = await asyncio.wait({resync, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for error in (task.exception() for task in done if not task.cancelled()):
                if error is not None:
                    logger.warning("the watches have ended and are begun anew: %s: %s", type(error).__name__, error)
        finally:
            self._synced, self._indices, self._ghosts = False, {}, set()
            self._heard_of, self._unheard = {}, {}
            self.problem = "the watches are begun anew"
            await _end(asyncio.all_tasks() - existing, sessions)

    def _started(self, indices: Mapping[str, kopf.Index[str, Any]]) -> None:
        self._indices = indices

    def _heard(self, uid: str, version: str) -> None:
        if version:
            self._heard_of[uid] = version
        else:
            self._heard_of.pop(uid, None)
        self._complete()  # kopf calls event handlers only after it has listed every kind

    def _complete(self) -> None:
        if not self._synced:
            self._synced, self.problem = True, ""
            self._wake()

    def _changed(self) -> None:
        self._wake()

    async def _keep_in_step(self, cluster: KubernetesCluster, asked: _Asked) -> None:
        await self._settle(cluster, asked.watches)
        await self._resync(cluster, asked.relisted)

    async def _settle(self, cluster: KubernetesCluster, watches: Collection[str]) -> None:
        """Until all is known. kopf begins a watch when it has listed the kind: when all have begun and nothing exists,
        there was nothing to list, and whatever comes is told by an event. `watches`: those that have begun."""
        expected = len(self._kinds) * len(self._settings.namespaces or ("",))
        while not self._synced:
            try:
                if len(watches) >= expected and not await self._living(cluster):
                    self._complete()
            except TierwiseError as error:
                self._say(error.message)
            await asyncio.sleep(SETTLE_SECONDS)

    async def _resync(self, cluster: KubernetesCluster, relisted: asyncio.Event) -> None:
        """Compare again and again; returns when something was missed that only a new list tells."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARD_SECONDS if self._unheard else RESYNC_SECONDS):
                    await relisted.wait()
            relisted.clear()
            try:
                missed = await self._compare(cluster)
            except TierwiseError as error:
                logger.warning("what is known could not be compared with the cluster: %s", error.message)
                relisted.set()  # what was missed meanwhile is still unknown
            else:
                if missed:
                    logger.warning("%d objects were made or changed unnoticed: everything is listed anew", missed)
                    return
            await asyncio.sleep(COMPARE_SECONDS)

    async def _compare(self, cluster: KubernetesCluster) -> int:
        """Leave out what was deleted unnoticed; the number of objects of which too much was missed for that."""
        # Read before and after: what comes while the list is on its way is no ghost, and was not missed.
        known, before = set(chain.from_iterable(self._indices.values())), dict(self._heard_of)
        living = await self._living(cluster)
        ghosts, told = known - living.keys(), self._ghosts
        self._ghosts = ghosts
        if ghosts - told:
            logger.warning("%d objects were deleted unnoticed and are left out", len(ghosts - told))
            self._wake()
        now = time.monotonic()
        unheard = [
            (uid, version)
            for uid, version in living.items()
            if version not in (before.get(uid), self._heard_of.get(uid))
        ]
        self._unheard = {each: self._unheard.get(each, now) for each in unheard}
        return sum(now - since >= HEARD_SECONDS for since in self._unheard.values())

    async def _living(self, cluster: KubernetesCluster) -> dict[str, str]:
        """All objects of our kinds: their resource versions, by UID."""
        living: dict[str, str] = {}
        for kind in self._kinds:
            for namespace in self._settings.namespaces or ("",):
                living |= await cluster.versions(kind.ref(namespace), selector=kind.selector)
        return living

    async def _pause(self, seconds: float) -> None:
        assert self._stop is not None  # noqa: S101  (set before; for the type checker)
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return


async def _end(tasks: set[asyncio.Task[Any]], sessions: list[aiohttp.ClientSession]) -> None:
    """End what kopf has started, and close its connections."""
    for task in tasks:
        task.cancel()
    _, left = await asyncio.wait(tasks, timeout=END_SECONDS)
    if left:
        logger.warning("%d tasks of the watches do not end and are left behind", len(left))
    for session in sessions:
        await session.close()


@dataclass(slots=True)
class _Asked:
    """What kopf has asked for, by path: which watches have begun, which lists were read since."""

    relisted: asyncio.Event  # a kind was listed once more
    watches: set[str] = field(default_factory=set)
    _listed: set[str] = field(default_factory=set)

    def note(self, path: str, *, watch: bool) -> None:
        """A request is about to be sent. When a watch begins, the list before it has been read to its end."""
        if not watch:
            self._listed.add(path)
            return
        if path in self.watches and path in self._listed:
            self.relisted.set()
        self.watches.add(path)
        self._listed.discard(path)


def _login(configuration: Configuration, sessions: list[aiohttp.ClientSession], asked: _Asked) -> Callable[..., Any]:
    """kopf's login handler; the sessions that it makes are added to `sessions`, what it asks for is noted in
    `asked`."""
    last = -_LOGIN_PAUSE_SECONDS

    async def login(**_: Any) -> kopf.AiohttpSession:
        nonlocal last
        # Called again after each 401: a token that is refused for good must not be tried in a hot loop.
        pause = last + _LOGIN_PAUSE_SECONDS - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        last = time.monotonic()
        sessions[:] = [each for each in sessions if not each.closed]
        sessions.append(_session(configuration, asked))
        return kopf.AiohttpSession(server=configuration.host, aiohttp_session=sessions[-1])

    return login


def _session(configuration: Configuration, asked: _Asked) -> aiohttp.ClientSession:
    """kopf's session. It asks for the token before each request, so a rotated one is used without a new login."""

    async def authorize(_: Any, __: Any, request: aiohttp.TraceRequestStartParams) -> None:
        header = await connection.authorization(configuration)
        if header:
            request.headers["Authorization"] = header
        asked.note(request.url.path, watch=request.url.query.get("watch") == "true")

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(authorize)
    tls = connection.client(configuration).rest_client.ssl_context
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls),
        headers={"User-Agent": connection.USER_AGENT},
        proxy=configuration.proxy,
        trace_configs=[trace],
    )
