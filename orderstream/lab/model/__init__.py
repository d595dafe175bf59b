"""
A checker: it looks at all that can happen to a few orders, and finds the shortest way to break a promise.
"""
