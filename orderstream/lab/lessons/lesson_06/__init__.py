"""Lesson 06, exactly once is something you build: ``predictions.py`` and ``judges.py``, for its exercises."""
