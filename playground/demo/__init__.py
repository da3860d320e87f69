"""The demo: two tiers on a real control plane that follow a real load, in five minutes."""
