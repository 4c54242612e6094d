"""The resolvers, one module per noun.

They turn arguments into values and ops, and do nothing else.
"""
