"""The bill: what a trace costs on a large model alone, and with one tactic after another."""
