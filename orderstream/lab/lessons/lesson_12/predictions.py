"""The predictions of lesson 12: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "12a": (
        "Which is the first level that breaks AcksFirst?",
        {
            2: "2, a crash before the effect: level 1 sees nothing wrong",
            1: ("1, a quiet day: the mistake is in every order", "what is wrong shows when it is tried"),
            3: ("3, a kill between effect and ack: the first that is rough", "what was read will be handled"),
        },
    ),
    "12b": (
        "Level 2, AcksLast: which invariant breaks?",
        {
            "nothing left": "nothing left: the order stays pending for ever",
            "none": ("none: the next process reads the order", "a pending order is given to whoever reads next"),
            "no loss": ("no loss: the order went with its process", "what a dead process held is gone"),
        },
    ),
    "12c": (
        "Level 4: eight orders, two bad. How many innocent ones are dead letters at the end?",
        {
            4: "4: all that stood behind the poison",
            0: ("0: they did nothing wrong", "the delivery count knows whose fault it was"),
            6: ("6: all the others of the batch", "what was acked goes down with its batch"),
        },
    ),
    "12d": (
        "MULTI, XADD, XACK, EXEC. The reply to EXEC is lost. How many dead letters?",
        {
            2: "2: redis-py sends all of it again",
            1: ("1: EXEC runs once", "a transaction happens once"),
            0: ("0: what was not confirmed was undone", "a lost reply rolls back"),
        },
    ),
}
