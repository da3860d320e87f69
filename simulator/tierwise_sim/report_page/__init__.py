"""Draws simulations as one HTML page: what they cost, how good they were, and what the replicas did."""
