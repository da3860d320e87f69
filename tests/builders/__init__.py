"""Builds values for tests, and reads those of a tier with one workload."""
