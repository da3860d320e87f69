"""python -m playground.kubelet --state DIR: drive all nodes of the playground until the process is ended."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from playground.kubelet.devices import Devices
from playground.kubelet.events import EventRecorder
from playground.kubelet.images import ImageTable, load_table
from playground.kubelet.model import Json
from playground.kubelet.network import Network
from playground.kubelet.node import NodeAgent
from playground.kubelet.pod import PodWorker, Surroundings
from playground.kubelet.server import LogServer
from playground.kubelet.sources import Sources
from playground.layout import Layout
from playground.nodes import NODES, NodeSpec
from playground.rest import Mirror, Rest

log = logging.getLogger(__name__)
POWER_S = 0.5  # how often a node's power is looked at
REPOSITORY = Path(__file__).resolve().parents[2]


def placeholders() -> dict[str, str]:
    """Return what {repo}, {python} and {venv_bin} stand for in tables of images."""
    return {
        "repo": str(REPOSITORY),
        "python": sys.executable,
        "venv_bin": str(Path(sys.executable).parent),
    }


class Kubelet:
    """All nodes in one process."""

    def __init__(self, state: Path, images: ImageTable, nodes: Sequence[NodeSpec]) -> None:
        """Prepare every node. Raises OSError, KeyError."""
        self._state = state
        self._network = Network()
        self._services: dict[str, Json] = {}
        # Whatever an earlier life left here died with it.
        shutil.rmtree(state / "pods", ignore_errors=True)
        (state / "pods").mkdir(mode=0o700)
        self._images = images
        self._nodes = tuple(nodes)
        self._agents = {spec.name: self._agent(spec) for spec in nodes}

    def _agent(self, spec: NodeSpec) -> NodeAgent:
        client = Rest(self._state / f"node-{spec.name}.kubeconfig")
        around = Surroundings(
            node=spec.name,
            client=client,
            network=self._network,
            images=self._images,
            sources=Sources(client),
            events=EventRecorder(client, spec.name),
            services=self._services,
            devices=Devices(spec.gpu_count, spec.gpu.product if spec.gpu else ""),
            allocatable=spec.capacity(),
            folder=self._state / "pods",
            claims=self._state / "pvc",
            logs=self._state / "logs" / "pods",
        )
        return NodeAgent(spec, client, around, {}, {}, asyncio.Event())

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """Return the worker of a pod on any node."""
        found = (agent.find(namespace, name) for agent in self._agents.values())
        return next((worker for worker in found if worker is not None), None)

    async def run(self) -> None:
        """Live, for ever. Raises OSError if the log server cannot listen."""
        await LogServer(self.find).start(self._state)
        services = Mirror(self._agents[self._nodes[0].name].client, "/api/v1/services", {}, lambda *_: None)
        services.objects = self._services
        async with asyncio.TaskGroup() as group:
            group.create_task(services.run())
            await services.synced.wait()
            for spec in self._nodes:
                group.create_task(self._powered(spec))

    async def _powered(self, spec: NodeSpec) -> None:
        """One node, for ever: it lives while it has power, and begins anew when it has it again."""
        switch = Layout(self._state).unplugged(spec.name)
        while True:
            await _until_unplugged(self._agents[spec.name], switch)
            log.info("node %s has lost its power", spec.name)
            await _until(lambda: not switch.exists())
            self._agents[spec.name] = self._agent(spec)


async def _until_unplugged(agent: NodeAgent, switch: Path) -> None:
    life = asyncio.create_task(agent.run())
    await _until(lambda: switch.exists() or life.done())
    if life.done():
        life.result()
    life.cancel()
    await asyncio.wait({life})
    await agent.die()


async def _until(done: Callable[[], bool]) -> None:
    while not done():  # noqa: ASYNC110 - a file has no event
        await asyncio.sleep(POWER_S)


async def serve(state: Path, files: Sequence[Path]) -> None:
    """Run the kubelet, for ever."""
    table = load_table(files, placeholders())
    await Kubelet(state, table, NODES).run()


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m playground.kubelet", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the playground's state folder")
    parser.add_argument(
        "--images", type=Path, action="append", default=[], help="one more table of images (repeatable)"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(serve(options.state.absolute(), [REPOSITORY / "playground" / "images.yaml", *options.images]))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
