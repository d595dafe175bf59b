"""The predictions of lesson 07: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "07a": (
        "Sent by 1, by 10, by 100 and by 1,000: which step saves most time for each order?",
        {
            "1 to 10": "from 1 to 10: nine of ten waits are gone",
            "100 to 1,000": ("from 100 to 1,000: the fewest waits are left", "the larger the batch, the more it saves"),
            "alike": ("all three alike: each is ten times as many", "ten times the batch saves ten times the time"),
        },
    ),
    "07b": (
        "One by one, Redis' processor works for each order. How much of that is the command XADD itself?",
        {
            "at most a quarter": "a quarter at most: most is to read and to answer",
            "about half": (
                "about half: to be asked costs as much as to do",
                "a round trip costs what the command costs",
            ),
            "nearly all": ("nearly all: XADD is all that it was asked for", "commandstats says what Redis costs"),
        },
    ),
    "07c": (
        "Lag has come down to 0. How many of the six orders are done?",
        {
            0: "0: they were only handed out",
            5: ("5: all but the one in her hands", "a group hands out one order after the other"),
            6: ("6: lag 0 means that all is done", "lag 0 means done"),
        },
    ),
    "07d": (
        "Bob got an order 90 s ago, and asked in vain just now. What does XPENDING's idle time tell?",
        {
            "the order": "how long the order has waited for its ack",
            "bob": ("how long Bob has been silent", "the idle time of an entry is its consumer's"),
            "the entry": ("how long the order has been in the stream", "an entry is idle from its XADD on"),
        },
    ),
    "07e": (
        "20 orders per second, 120 ms each. With how many consumers does the backlog shrink?",
        {
            3: "3: two are not quite enough",
            2: ("2: that is nearly enough, and batching does the rest", "a batch makes a slow handler faster"),
            20: ("20: one for each order of a second", "each order needs a consumer of its own"),
        },
    ),
}
