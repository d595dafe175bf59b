"""
Lesson 05, three tries, then the dead-letter queue. In reading order:

    predictions    what it asks before each experiment
    judges         the judges of its exercises
"""
