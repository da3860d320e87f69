"""Holds the command line: `tierwise`, and the same as `kubectl tierwise`.

It stands above every other package and nothing imports it. What a command needs is imported when it is that command's
turn, so that what is typed often answers at once.
"""
