"""
Lesson 11, many at once. In reading order:

    predictions    what it asks before each experiment
    diary          who handled what, when, and in which place of the crew
    crew_chart     draws that: a lane for each place
    crews          the moving picture of it, and the still one
    judges         the judges of its exercises
"""
