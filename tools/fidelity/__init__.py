"""Compares the engine model with measured engines, and fits what tells its step times."""
