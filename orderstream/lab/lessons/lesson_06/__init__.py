"""
Lesson 06, exactly once is something you build. In reading order:

    predictions    what it asks before each experiment
    judges         the judges of its exercises
"""
