"""
Lesson 11, survive the chaos. In reading order:

    learner        the learner's class as a real process
    chaos          five levels of chaos for it, and a judge that knows only what must hold
    predictions    what it asks before each experiment
    judges         the judges of its exercises
"""
