"""
The two editions of the course. In reading order:

    author        ``notebooks/``: with outputs, which ``pytest --nbval`` compares; only authors write there
    learner       ``learn/``: a copy without outputs, to work in; ``make lab`` makes it, and git ignores it
    jupyterlab    JupyterLab, opened on the learner's edition
    hub           the server of one learner on a JupyterHub, with the same edition
"""
