"""Compares who decides the replicas: the operator beside the autoscalers of others, on traces and generated loads."""
