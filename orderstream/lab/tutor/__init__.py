"""
What a learner believes and answers, and how it is looked at. In reading order:

    predict        a prediction before an experiment, and what it showed
    scoreboard     what one learner believed, and what became of it
    classroom      the same of a class: ``python -m orderstream.lab.tutor.classroom FILE… --out class.png``
    witness        what an answer asks of Redis, so that a verdict can show it
    check          an answer is judged, in one friendly line
    environment    will every lesson run on this machine?
"""
