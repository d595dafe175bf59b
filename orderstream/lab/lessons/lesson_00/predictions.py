"""The predictions of lesson 00: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "00a": (
        "Two consumers of one group, 60 orders: how many handler runs in all?",
        {
            60: "60: each order goes to one of the two",
            90: ("90: now and then both take the same one", "who reads at the same moment gets the same order"),
            120: ("120: each of the two gets every order", "a group is a broadcast"),
        },
    ),
    "00b": (
        "One order, and Carl's handler fails each time. How often does it run?",
        {
            3: "3 times: then the order is put aside",
            1: ("once: a failed order is gone", "failure means loss"),
            10: ("10 times and more: it is tried for ever", "retries never end"),
        },
    ),
    "00c": (
        "Dora is dead. Where is her order now?",
        {
            "pending 1, delivered up to 1-0": "pending: it is still Dora's",
            "pending 0, delivered up to 0-0": (
                "back in the stream: Redis saw the connection close",
                "Redis looks after its consumers",
            ),
            "pending 0, delivered up to 1-0": ("gone: it was in her hands", "an order dies with its consumer"),
        },
    ),
}
