"""Lesson 08, one order, one trace: ``judges.py`` holds the judges of its exercises."""
