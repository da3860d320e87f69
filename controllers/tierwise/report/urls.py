"""Makes the address under which clients in the cluster reach a Service.

One form for tiers and routes, with the API's `/v1`, as OpenAI clients take it for their base URL. The name ends in
`.svc`: the resolver of a pod adds the domain of the cluster, which need not be `cluster.local`.

A headless Service (KServe's `serviceClusterIPNone: true`) has no address of its own. Its name stands for the replicas,
and nothing translates the Service's port 80 to the port on which they listen: there the URL names that port.
"""

from __future__ import annotations


def service_url(name: str, namespace: str, *, scheme: str = "http", port: int | None = None) -> str:
    """The base URL of the OpenAI API behind a Service. `port`: where it is not the scheme's own."""
    return f"{scheme}://{name}.{namespace}.svc{'' if port is None else f':{port}'}/v1"
