"""Carries out what was decided: server-side apply of the children, and replicas through the scale subresource."""
