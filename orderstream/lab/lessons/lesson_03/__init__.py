"""Lesson 03, acknowledged is not deleted: ``judges.py`` holds the judges of its exercises."""
