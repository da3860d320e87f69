"""The renderers and writers."""
