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
        "concurrency=20, and an async def that waits with time.sleep. How many orders are in handlers at once?",
        {
            1: "1: nobody else can begin",
            20: ("20: as many as concurrency says", "async def makes it run beside others"),
            2: ("2: one for each processor here", "coroutines are spread over the processors"),
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
        "100 orders wait, 20 are in handlers, and kill -9. How many orders are on their second attempt after that?",
        {
            20: "20: all that were in handlers",
            0: ("0: no handler had come to its end", "an attempt counts when its handler ends"),
            100: ("100: the crash hits the whole stream", "a crash makes everything come again"),
        },
    ),
    "11f": (
        "Three attempts. The figs kill their process each time, 19 good orders are beside them. How many dead letters?",
        {
            1: "1: the figs",
            20: ("20: all died with them each time", "whoever is in hand at three crashes is dead"),
            3: ("3: one for each crash", "a crash takes one order with it"),
        },
    ),
}
