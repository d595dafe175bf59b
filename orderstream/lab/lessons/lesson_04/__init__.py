"""Lesson 04, nobody comes back for a dead consumer's orders: ``judges.py`` holds the judges of its exercises."""
