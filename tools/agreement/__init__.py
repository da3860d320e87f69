"""Holds the simulation against a running control plane: the same manifests and requests, replicas over time."""
