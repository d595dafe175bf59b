"""Lesson 06, exactly once is something you build: ``judges.py`` holds the judges of its exercises."""
