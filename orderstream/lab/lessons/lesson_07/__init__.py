"""Lesson 07, round trips, not Redis, are the limit: ``judges.py`` holds the judges of its exercises."""
