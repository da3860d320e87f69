"""Chooses for one request: which tier answers, which replica, what follows a failure, what it costs.

Everything here is pure: no clock, no chance, no I/O. The router feeds it with what it sees, and the simulator with what
it simulates, so that a saving that was simulated was made by the code that serves.
"""
