"""Lesson 07, round trips, not Redis, are the limit: ``predictions.py`` and ``judges.py``, for its exercises."""
