"""
Predictions and answers of learners, and what judges them. In reading order:

    predict        a prediction before an experiment, and the result after it
    scoreboard     the wrong beliefs of one learner, and which were overturned
    classroom      the same for a class: ``python -m orderstream.lab.tutor.classroom FILE… --out class.png``
    check          judges an answer, in one friendly line
    witness        records the Redis commands of an answer, so that a verdict can show them
    environment    will every lesson run on this machine?
"""
