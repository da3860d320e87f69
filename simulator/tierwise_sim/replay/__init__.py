"""Runs decide, routing and engines together in virtual time: what a trace would have cost on these manifests.

It is pure: no clock, no I/O, and no chance but a passed seed, so the same input gives the same result to the last byte.
"""
