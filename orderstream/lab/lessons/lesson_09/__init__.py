"""
Lesson 09, the control room. In reading order:

    missions        what the learner is asked to do there, and when it is done
    control_room    producers, consumers and their stream in one panel, with everything there is to break
    predictions     what it asks before each experiment
    judges          the judges of its exercises
"""
