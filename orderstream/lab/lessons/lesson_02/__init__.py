"""
Lesson 02, a group shares one stream. In reading order:

    sharing    a group shares the work, and COUNT decides who holds what: the moving picture
    judges     the judges of its exercises
"""
