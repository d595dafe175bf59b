"""
Lesson 07, round trips, not Redis, are the limit. In reading order:

    predictions    what it asks before each experiment
    judges         the judges of its exercises
"""
