"""The predictions of lesson 10: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "10a": (
        "Bob and Dora both send XCLAIM with a min-idle of 60 s. Who gets 1-0?",
        {
            "bob": "the first one alone",
            "bob dora": ("both, one after the other", "a claim goes to whoever asks"),
            "dora": ("the last one: she takes it from Bob, who got nothing", "only the last owner counts"),
        },
    ),
    "10b": (
        "1-0 came 7 times before. Which reply says so: that of XPENDING, XCLAIM or XAUTOCLAIM?",
        {
            "XPENDING": "that of XPENDING alone",
            "XPENDING XCLAIM XAUTOCLAIM": ("those of all three", "a claim tells how often an order came"),
            "XCLAIM XAUTOCLAIM": ("those of the two claims", "only who claims needs to know"),
        },
    ),
    "10c": (
        "Six orders, four of them Ann's. How many commands does take_6_2 save, against take_5_0?",
        {
            4: "4: one for each order that Ann left",
            7: ("7: one each time Bob asks", "XAUTOCLAIM also replaces the read"),
            0: ("0: they only look shorter", "a newer command is the same commands in one word"),
        },
    ),
    "10d": (
        "The kitchen acks 1-0 and deletes it. What do the books read?",
        {
            "deleted 1, read 0": "nothing: they never hear of it",
            "deleted 1, read 1": ("1-0: each group has its own copy", "a group keeps what it has not read"),
            "deleted 0, read 1": ("1-0: Redis refuses the XDEL", "Redis protects what a group has not read"),
        },
    ),
    "10e": (
        "Delivered to Ann once, handed back, claimed by Bob. What is the delivery count?",
        {
            1: "1: Bob's turn alone",
            2: ("2: two deliveries", "the count only grows"),
            0: ("0: Bob has not handled it yet", "the count counts handler runs"),
        },
    ),
}
