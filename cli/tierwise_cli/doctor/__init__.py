"""Finds out why a cluster does not serve, from where its user stands: what is seen, and what follows from it.

Looking (`look`) and judging (`checks`) are apart, so that a judgement can be tested without a cluster that is broken in
just that way. What may not be read is no finding of its own: it is said as unknown, with the right that is missing.
"""
