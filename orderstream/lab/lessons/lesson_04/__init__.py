"""Lesson 04, nobody comes back for a dead consumer's orders: ``predictions.py`` and ``judges.py``, for its exercises."""
