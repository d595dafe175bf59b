"""The predictions of lesson 05: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "05a": (
        "Three orders, read together. Killed between two tries of o-2, then restarted. What is pending?",
        {
            "2-0 3-0": "2-0 and 3-0: the figs, and what came behind them",
            "nothing": (
                "nothing: the new process goes on with them",
                "a consumer that comes back gets its orders back",
            ),
            "2-0": ("2-0 alone: nobody had begun with 3-0", "an order is delivered when its handler begins"),
        },
    ),
    "05b": (
        "Killed between the two commands, then Bob takes over. How many dead letters has this one order?",
        {
            "XADD first 2, XACK first 0": "XADD first: two. XACK first: none",
            "XADD first 1, XACK first 1": (
                "one either way: Bob completes it",
                "two commands in a row are as good as one",
            ),
            "XADD first 1, XACK first 0": (
                "XADD first: one. XACK first: none",
                "a stream does not take the same fields twice",
            ),
        },
    ),
    "05c": (
        "MULTI, XADD orders-dlq, XACK, EXEC. The XADD fails: wrong type. And the XACK?",
        {
            "ran, order lost": "runs all the same: the order is nowhere",
            "did not run, order pending": ("does not run: the order stays pending", "MULTI is all or nothing"),
            "undone, order pending": ("is undone: the order is pending again", "MULTI rolls back"),
        },
    ),
    "05d": (
        "Fifty processes claimed the figs and died. Then Dora claims, too. What does she get?",
        {
            "delivery 52": "the figs, delivery 52: each claim counts",
            "nothing": ("nothing: Redis gave up, the order is gone", "poison messages leave by themselves"),
            "delivery 1": ("the figs, delivery 1: no handler has failed", "only an exception counts as a try"),
        },
    ),
    "05e": (
        "Five orders, one of them deadly, claimed together. How many end in the dead-letter queue?",
        {
            5: "5: all that were claimed with them",
            1: ("1: the figs", "each order pays for its own failures only"),
            0: ("0: no process lives long enough to move one", "a dead process cannot give up, so nobody does"),
        },
    ),
    "05f": (
        "Fine, no data, broken JSON, fine. Which entries has the naive consumer not acked in the end?",
        {
            "3-0 4-0": "3-0 and 4-0: the loop ends at 3-0",
            "2-0 3-0": ("2-0 and 3-0: those that are no orders", "what is no order is not acked as one"),
            "3-0": ("3-0 alone: its JSON cannot be read", "a bad entry harms nobody but itself"),
        },
    ),
    "05g": (
        "Ten good orders, a service that is down for five seconds. How many become dead letters?",
        {
            10: "10: three tries are over at once",
            0: ("0: the second or third try gets through", "trying again at once is waiting"),
            1: ("1: the first, then the service is back", "the others wait until the first is through"),
        },
    ),
}
