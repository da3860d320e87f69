"""Holds what every process of ours needs: clock, logs, back-off, supervision, the health server."""
