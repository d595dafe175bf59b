"""Lesson 05, three tries, then the dead-letter queue: ``judges.py`` holds the judges of its exercises."""
