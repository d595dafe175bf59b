"""
For who writes a lesson or installs the course. In reading order:

    preflight    can this machine run the lab? Asked by ``make lab``, before anything is installed
    gate         which cells of a notebook need a newer Redis
    refresh      run notebooks and store their output: ``python -m orderstream.lab.author.refresh notebooks/*.ipynb``
"""
