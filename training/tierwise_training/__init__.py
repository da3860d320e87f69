"""Labels and training: which requests the cheap tier can answer, learned from the user's own prompts.

Neither the operator nor a router imports it.
"""
