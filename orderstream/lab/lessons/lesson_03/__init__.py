"""Lesson 03, acknowledged is not deleted: ``predictions.py`` and ``judges.py``, for its exercises."""
