"""Lesson 05, three tries, then the dead-letter queue: ``predictions.py`` and ``judges.py``, for its exercises."""
