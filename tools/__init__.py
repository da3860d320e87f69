"""Holds what the project runs on itself: checks and generators that no shipped process needs."""
