"""Measures how often the router finds prompts cached, beside simpler ways to choose a replica."""
