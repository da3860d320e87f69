"""Converts what people serve models with today into ModelTiers, and says what is lost on the way.

The rule of the package: whatever stands in the input ends either in the tier or in the list, with a reason. Readers
count what was taken out of them, so what nobody thought of is in the list by itself.
"""
