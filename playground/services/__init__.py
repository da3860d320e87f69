"""Services without kube-proxy: every ClusterIP:port is listened on and relayed, every name is answered.

The whole service range is local in the playground's network namespace, so a ClusterIP can simply be bound,
and pods reach it over their default route. `routing` and `names` are pure; `relay` and `dns` do the I/O.
"""
