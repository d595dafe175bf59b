"""
Predictions and answers of learners, and what judges them. In reading order:

    predict        a prediction before an experiment, and the result after it
    scoreboard     the wrong beliefs of one learner, and which were overturned
    collector      the scoreboards of a class over the network: ``python -m orderstream.lab.tutor.collector FOLDER``
    classroom      the beliefs of a class: ``python -m orderstream.lab.tutor.classroom FILE… --out class.png``
    check          judges an answer, in one friendly line
    witness        records the Redis commands of an answer, so that a verdict can show them
    environment    will every lesson run on this machine?
"""
