"""The predictions of lesson 04: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "04a": (
        "Ann died with 1-0 in her hands. Which orders does Bob get?",
        {
            "2-0 3-0": "2-0 and 3-0: what nobody was given yet",
            "1-0 2-0 3-0": ("1-0, 2-0 and 3-0: Ann's order first", "Redis redelivers when a consumer dies"),
            "2-0 3-0 1-0": (
                "2-0 and 3-0, then 1-0: Ann's order last",
                "what was not acked goes back to the end of the queue",
            ),
        },
    ),
    "04b": (
        "1-0 was delivered once. Ann reads 0 three times. What is its delivery count then?",
        {
            4: "4: each look was a delivery",
            1: ("1: reading what you hold changes nothing", "reading 0 is a harmless look"),
            2: ("2: the new process counts once", "Redis tells Ann's old process from her new one"),
        },
    ),
    "04c": (
        "Who charges the card?",
        {
            "ann bob": "both: the customer pays twice",
            "ann": ("Ann alone: Bob's claim finds nothing", "a small min-idle is safe, and faster"),
            "bob": ("Bob alone: his claim stops Ann", "a claim takes the work out of the owner's hands"),
        },
    ),
    "04d": (
        "1-0 is Bob's now. Ann is done first and acks, then Bob. What do they get?",
        {
            "1 0": "Ann 1, Bob 0: one was pending",
            "0 1": ("Ann 0, Bob 1: it is his", "only the owner can ack"),
            "1 1": ("1 each: both were given it", "everybody acks a delivery of their own"),
        },
    ),
    "04e": (
        "The consumer ann, who holds 1-0, is deleted. Where is the order for the group?",
        {
            "pending 0, new 0": "nowhere: not pending, and not new for Bob",
            "pending 0, new 1": ("new again: Bob gets it", "deleting a dead consumer cleans up"),
            "pending 1, new 0": ("still pending, in nobody's name", "the group keeps what its consumers held"),
        },
    ),
    "04f": (
        "2000 pending, the last 5 overdue. How many does the first call claim?",
        {
            0: "0: it has not come that far",
            5: ("5: all that are overdue", "XAUTOCLAIM scans everything in one call"),
            10: ("10: COUNT says how many", "COUNT fills up with entries that are not due"),
        },
    ),
}
