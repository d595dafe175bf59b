"""
Lesson 12, survive the chaos. In reading order:

    learner        the learner's class as a real process
    levels         eight levels of chaos for it
    run            what happened in a level, and the judge: it knows only what must hold
    chaos          plays a level: processes, kills, and the time between them
    predictions    what it asks before each experiment
    judges         the judges of its exercises
"""
