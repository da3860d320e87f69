"""Holds the adapter to the Kubernetes API server: the only importer of the kubernetes client."""
