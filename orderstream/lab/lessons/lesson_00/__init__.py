"""Lesson 00, your stream is running: ``predictions.py`` and ``judges.py``, for its exercises."""
