"""Measures how well requests are divided between a small and a large model, on published answers of two models."""
