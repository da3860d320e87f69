"""A kubelet without containers: it runs the pods of a few nodes as local processes.

Everything around it (apiserver, scheduler, controllers, KServe) is the real thing, so whatever watches pods
must find what it would find on a cluster: the same states, reasons and conditions in the same order, each
pod at an address of its own. What decides is pure (`environment`, `probes`, `backoff`, `status`, `resume`);
what touches processes, namespaces, files and the API is thin and sits around it.
"""
