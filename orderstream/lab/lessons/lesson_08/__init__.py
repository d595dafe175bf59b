"""Lesson 08, one order, one trace: ``predictions.py`` and ``judges.py``, for its exercises."""
