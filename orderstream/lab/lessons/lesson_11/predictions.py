"""The predictions of lesson 11: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "11a": (
        "Four such processes instead of one. What becomes about four times as much?",
        {
            "both": "the orders per second, and the memory",
            "rate": ("the orders per second, not the memory", "processes of one program share their memory"),
            "neither": ("neither: at Redis, one waits for the other", "a group hands out one order after the other"),
        },
    ),
    "11b": (
        "All work together is 3.8 s. Ten threads share it, in ten batches of ten. How long does it take?",
        {
            2.0: "about 2 s: ten batches, each as slow as its figs",
            0.4: ("about 0.4 s: all work, divided by ten", "a batch takes its work, divided by the threads"),
            3.8: ("about 3.8 s: as long as without threads", "threads of Python run one after the other"),
        },
    ),
    "11c": (
        "concurrency=20, and an async def that waits with time.sleep. How many orders run at once?",
        {
            1: "1: nobody else can begin",
            20: ("20: as many as concurrency says", "async def makes it run beside others"),
            0: ("0: the event loop refuses what blocks it", "somebody warns you of a call that blocks"),
        },
    ),
    "11d": (
        "One consumer with three places reads placed, paid, shipped, in this order. Which one ends first?",
        {
            "shipped": "shipped: it is the quickest",
            "placed": ("placed: it was read first", "one consumer keeps the order"),
            "together": ("none: the three end together", "what was read together ends together"),
        },
    ),
    "11e": (
        "100 orders wait, 20 are in handlers, kill -9. How many orders are on their second attempt then?",
        {
            20: "20: all that were in handlers",
            0: ("0: no handler had come to its end", "an attempt counts when its handler ends"),
            100: ("100: the crash hits the whole stream", "a crash makes everything come again"),
        },
    ),
    "11f": (
        "The figs kill each process. 19 good orders are beside them. Three attempts: how many dead letters?",
        {
            1: "1: the figs",
            20: ("20: all died with them each time", "whoever is in hand at three crashes is dead"),
            0: ("0: a crash is no failed attempt", "only an exception counts as an attempt"),
        },
    ),
}
