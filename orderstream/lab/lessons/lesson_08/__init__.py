"""
Lesson 08, one order, one trace. In reading order:

    predictions    what it asks before each experiment
    judges         the judges of its exercises
"""
