"""Holds what every HTML page of the project is made of: one file that loads nothing and runs no script."""
