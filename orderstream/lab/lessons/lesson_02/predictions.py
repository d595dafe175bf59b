"""The predictions of lesson 02: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "02a": (
        "Ann packs, Carl writes mails, both ask with >. How many orders do they get?",
        {
            "Ann 3, Carl 0": "Ann 3, Carl 0: for his group, the old ones are past",
            "Ann 3, Carl 3": ("Ann 3, Carl 3: to his group all are new", "a new group begins with all there is"),
            "Ann 3, Carl 1": ("Ann 3, Carl 1: $ is the last order", "$ means the latest unread"),
        },
    ),
    "02b": (
        "Ann asks for 2 at most, then Bob for 9, then Carl for 9. How many orders does each get?",
        {
            "2 4 6": "2, 4, 6: each group hands out all six",
            "2 4 0": ("2, 4, 0: Carl comes too late", "an order that somebody has is gone for all others"),
            "2 6 6": ("2, 6, 6: each gets all that fit into COUNT", "a group is a broadcast"),
        },
    ),
    "02c": (
        "ann-2 asks with 0. How many orders does it get?",
        {
            0: "0: none was given to ann-2",
            2: ("2: those that ann left", "the group knows that ann-2 replaces ann"),
            5: ("5: all of them, from the start", "0 reads the stream from its start"),
        },
    ),
    "02d": (
        "In which order are the three finished?",
        {
            "paid shipped placed": "paid, shipped, placed: Ann's comes last",
            "placed paid shipped": ("placed, paid, shipped: as they came", "a group keeps the order"),
            "paid placed shipped": ("paid, placed, shipped: the third is Ann's", "a group deals out in turns"),
        },
    ),
    "02e": (
        "Ann has asked with COUNT 100, and works on one. Bob asks. How many of the twenty does he get?",
        {
            0: "0: all of them are Ann's",
            10: ("10: each gets half", "a group shares fairly, whatever COUNT is"),
            19: ("19: all but the one that Ann has begun", "an order is yours when its handler begins"),
        },
    ),
    "02f": (
        "Ann has taken 100, 20 are left for Carl. How many does he hold at most?",
        {
            1: "1: the one he works on",
            20: ("20: all that are there", "a consumer takes what it can get"),
            5: ("5: a few, so that he need not wait for Redis", "a consumer should always have some in store"),
        },
    ),
}
