"""
Lesson 10, the same recovery in three eras. In reading order:

    eras           the moving picture: a group recovers by the commands of one era of Redis or another
    predictions    what it asks before each experiment
    judges         the judges of its exercises
"""
