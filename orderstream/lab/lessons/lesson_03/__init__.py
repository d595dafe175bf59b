"""
Lesson 03, acknowledged is not deleted. In reading order:

    predictions    what it asks before each experiment
    judges         the judges of its exercises
    ledger         its moving picture: where each order is that was sent
"""
