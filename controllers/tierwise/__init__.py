"""Tierwise: decide which models to run, on what, how many of each, and say why.

The library behind the operator, importable without a cluster. Data flows one way through four rooms that do not
know each other: `observe` (the cluster and Prometheus become a Snapshot), `decide` (a Snapshot becomes a Plan, with
its reasons), `act` (a Plan becomes objects on the cluster) and `report` (what happened becomes status, events and
metrics). `reconcile` is the one module that knows all four.
"""

__version__ = "0.1.0"
