"""python -m playground.services: forward Services and answer their names until the process is ended."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from playground.rest import Mirror, Rest
from playground.services.dns import DNS_ADDRESS, DnsServer
from playground.services.relay import REBIND_S, Forwarder
from playground.services.routing import names, routes

SETTLE_S = 0.02


async def serve(kubeconfig: Path, dns_address: str) -> None:
    """Keep listeners and names equal to the cluster's Services, for ever. Raises OSError, KeyError at start."""
    client = Rest(kubeconfig)
    changed = asyncio.Event()

    def on_change(*_: object) -> None:
        changed.set()

    services = Mirror(client, "/api/v1/services", {}, on_change)
    slices = Mirror(client, "/apis/discovery.k8s.io/v1/endpointslices", {}, on_change)
    dns, forwarder = DnsServer(), Forwarder()
    await dns.open(dns_address)
    async with asyncio.TaskGroup() as group:
        group.create_task(services.run())
        group.create_task(slices.run())
        await services.synced.wait()
        await slices.synced.wait()
        while True:
            dns.names = names(services.objects.values(), slices.objects.values())
            complete = await forwarder.update(routes(services.objects.values(), slices.objects.values()))
            try:
                async with asyncio.timeout(None if complete else REBIND_S):
                    await changed.wait()
            except TimeoutError:
                continue
            # One rollout is many events; a moment's patience makes them one change.
            await asyncio.sleep(SETTLE_S)
            changed.clear()


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m playground.services", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--dns", default=DNS_ADDRESS, help="address of the DNS server (port 53)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(serve(options.kubeconfig, options.dns))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
