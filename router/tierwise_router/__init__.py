"""The router's process: one OpenAI endpoint in front of tiers. It does the I/O; `tierwise.routing` decides."""
