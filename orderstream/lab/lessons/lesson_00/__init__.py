"""
Lesson 00, your stream is running. In reading order:

    predictions    what it asks before each experiment
    judges         the judges of its exercises
"""
