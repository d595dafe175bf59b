"""The predictions of lesson 06: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "06a": (
        "The shop calls xadd once. The reply is lost. How many entries does the stream have?",
        {
            2: "2: the client asked again",
            1: ("1: the one that was added", "one XADD call is one entry"),
            0: ("0: there was no reply", "what was not confirmed did not happen"),
        },
    ),
    "06b": (
        "A client of from_url calls xadd, the reply is lost. How does it end?",
        {
            "error, 1 entries": "with an error, and the order is in the stream",
            "error, 0 entries": ("with an error, and the stream is empty", "an error means that nothing happened"),
            "no error, 2 entries": ("with no error, and it is in twice", "every client tries again by itself"),
        },
    ),
    "06c": (
        "XREADGROUP COUNT 1, and its reply is lost. What does Ann's call return?",
        {
            "2-0": "2-0: the second try took the next one",
            "1-0": ("1-0: she has not seen it yet", "what did not arrive was not delivered"),
            "nothing": ("nothing: she hears of an error", "a lost reply always shows"),
        },
    ),
    "06d": (
        "The reply to XACK 2-0 is lost. What does the call return, and what of 2-0?",
        {
            "0, done": "0, and it is acked",
            "1, done": ("1, and it is acked", "one call is one command"),
            "0, pending": ("0, and it stays pending", "XACK = 0 means that the ack failed"),
        },
    ),
    "06e": (
        "The shop restarts as shop-2 and sends o-1 again. What comes of it?",
        {
            "2 entries": "a second entry: shop-2 has never sent it",
            "1 entries": ("the id of the first entry: o-1 is in already", "Redis knows an order by its id"),
            "refused": ("an error: o-1 is an order of shop-1", "an order belongs to the shop that sent it first"),
        },
    ),
    "06f": (
        "Dora takes over what Carl holds, and acks it. How many packets are left?",
        {
            4: "4: the tea leaves a second time",
            7: ("7: it was sold once", "a group gives exactly-once"),
            10: ("10: Carl never finished", "what was not acked is undone"),
        },
    ),
    "06g": (
        "Marker, crash, and the order comes again. How many packets of 10 are left?",
        {
            10: "10: the second run believes the marker",
            7: ("7: the second run does what was missing", "a marker makes a handler safe"),
            4: ("4: the tea leaves twice", "a crash always means a double"),
        },
    ),
}
