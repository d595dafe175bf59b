"""
Lesson 01, a stream is a log, not a queue. In reading order:

    readers        one log and several readers: the moving picture
    predictions    what it asks before each experiment
    judges         the judges of its exercises
"""
