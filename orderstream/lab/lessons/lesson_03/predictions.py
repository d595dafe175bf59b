"""The predictions of lesson 03: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "03a": (
        "Each round: add 200 orders, read them, XACK them. What does XACK do to the stream's memory?",
        {
            "fell 5 of 5 times, grew: True": "it falls, but not to where the round began",
            "fell 5 of 5 times, grew: False": ("it falls to where the round began", "XACK deletes"),
            "fell 0 of 5 times, grew: True": ("it stays: every entry is still there", "XACK frees nothing"),
        },
    ),
    "03b": (
        "300 times r.xadd(…, maxlen=10). How long is the stream then?",
        {
            100: "100: a whole node",
            10: ("10: the limit", "MAXLEN 10 keeps 10"),
            300: ("300: Redis trims when memory runs short", "MAXLEN is only a hint"),
        },
    ),
    "03c": (
        "Ann holds 10 orders, then XTRIM cuts the stream to 3. What does Redis say?",
        {
            "length 3, pending 10": "length 3, pending 10",
            "length 3, pending 3": ("length 3, pending 3", "trimming cancels pending work"),
            "length 10, pending 10": ("length 10, pending 10", "Redis spares entries that are pending"),
        },
    ),
    "03d": (
        "Six orders came, none was handled. How many does Emil handle?",
        {
            3: "3: o-4, o-5 and o-6",
            6: ("6: all of them", "a cap takes only what is done"),
            5: ("5: o-1 died with Dora", "only an order in somebody's hands is in danger"),
            0: ("0: the group stands at 1-0, and that is gone", "a group's bookmark needs its entry"),
        },
    ),
    "03e": (
        "Trim from the old end and lose nothing. How many of the six entries must stay?",
        {
            4: "4: all from the first that anybody needs",
            0: ("0: the kitchen has acknowledged all", "one XACK is enough"),
            2: ("2: those that one group was not given yet", "delivered is done"),
            3: ("3: those that one group has not acknowledged", "a trim leaves out what is in use"),
        },
    ),
    "03f": (
        "kill -9 hits Redis, and it starts again. How many of the 100 orders are left?",
        {
            0: "0: they were in memory",
            99: ("99: the last one was still on its way", "Redis writes to its disk as it goes"),
            100: ("100: each of them was answered", "what Redis has answered is on its disk"),
        },
    ),
    "03g": (
        "24000 orders wait, the memory is full, 90 more come. How many entries are there then?",
        {
            90: "90: the new ones alone",
            24_000: ("24000: the new ones are refused", "a full Redis refuses"),
            24_090: ("24090: what is in use stays, and Redis finds room", "Redis takes nothing away that is in use"),
        },
    ),
}
