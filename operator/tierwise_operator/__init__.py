"""The operator's process: kopf handlers, settings, the Lease, the loop and the command line.

All decisions are in the library (`tierwise`); this package connects it to a cluster and keeps it running.
"""
