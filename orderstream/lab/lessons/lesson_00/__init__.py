"""Lesson 00, your stream is running: ``judges.py`` holds the judges of its exercises."""
