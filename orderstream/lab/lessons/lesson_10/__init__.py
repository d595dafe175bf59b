"""
Lesson 10, the same recovery in three eras. In reading order:

    eras      a group that recovers by the commands of one era or another: the moving picture
    judges    the judges of its exercises
"""
