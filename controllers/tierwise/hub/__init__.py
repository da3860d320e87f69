"""Holds the adapter to a model hub: reads what repositories publish about their models."""
