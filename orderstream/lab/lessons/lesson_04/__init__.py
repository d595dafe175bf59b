"""
Lesson 04, nobody comes back for a dead consumer's orders. In reading order:

    predictions    what it asks before each experiment
    judges         the judges of its exercises
"""
