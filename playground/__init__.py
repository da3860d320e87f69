"""A real control plane on one machine, without containers and without root, for tests and for a first look.

`python -m playground up`, or `playground.handle.start()`.
"""
