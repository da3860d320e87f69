"""Traces: who asks when, for how many tokens. Values, readers of the formats that people have, and generators."""
