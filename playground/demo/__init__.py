"""What does a newcomer see in five minutes? Two tiers on a real control plane that follow a real load."""
