"""
Tools for authors of lessons, and the install. In reading order:

    preflight    can this machine run the lab? ``make lab`` asks, before anything is installed
    install      the environment ``.venv``: made, mended, filled, and looked at again
    gate         which cells of a notebook need a newer Redis
    refresh      run notebooks and store their output: ``python -m orderstream.lab.author.refresh notebooks/*.ipynb``
    guide        what the instructor guide tells of the lessons: ``python -m orderstream.lab.author.guide``
    minutes      how long each lesson takes, and the core track: ``python -m orderstream.lab.author.minutes``
    memory       how much memory a learner needs: ``python -m orderstream.lab.author.memory``
"""
