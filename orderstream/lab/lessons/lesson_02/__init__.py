"""
Lesson 02, a group shares one stream. In reading order:

    sharing        a group shares the work, and COUNT decides who holds what: the moving picture
    predictions    what it asks before each experiment
    judges         the judges of its exercises
"""
