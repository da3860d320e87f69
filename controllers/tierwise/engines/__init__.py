"""Which flags, metric names and methods does each engine version have?"""
