"""Holds the adapter to Prometheus: the only importer of its client."""
