"""The predictions of lesson 08: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "08a": (
        "Ann's handler fails twice, then succeeds. Which span is the parent of its third run?",
        {
            "send": "the send",
            "process": ("its second run", "a retry is a child of the attempt before it"),
            "none": ("none: it is the first of its trace", "each process begins its own trace"),
        },
    ),
    "08b": (
        "Ann is killed in her handler. What does a trace viewer show of her run?",
        {
            "nothing": "nothing at all",
            "an error": ("a span with an error", "a crash is recorded like an exception"),
            "unfinished": ("a span that goes on", "a viewer knows of a span when it begins"),
        },
    ),
    "08c": (
        "The same with links in place of parents. How many traces?",
        {
            7: "7: the batch, and each handler run",
            1: ("1: they still know each other", "one trace is always parent and child"),
            3: ("3: one for each order", "a trace belongs to an order"),
        },
    ),
    "08d": (
        "An order's traceparent is 5,000 characters of rubbish. What becomes of the order?",
        {
            "handled, new trace": "it is handled, and begins a trace of its own",
            "dead letter": ("it is a dead letter", "a bad header is a bad order"),
            "error": ("its consumer stops with an error", "telemetry can stop the work"),
        },
    ),
    "08e": (
        "The sender wrote 00. How many spans of its own does a consumer with links record?",
        {
            2: "2: process and ack",
            0: ("0: the sender has decided", "the sender decides for everybody"),
            1: ("1: process, which has the link", "only a span with a link is worth keeping"),
        },
    ),
    "08f": (
        "One of three consumers is sixty times slower. Where is the median of all runs?",
        {
            "up to 0.1 s": "with the fast ones: they do most runs",
            "0.1 to 0.25 s": ("in between: a third of the runs is slow", "slow consumers do as many runs"),
            "above 0.25 s": ("with the slow one: the others wait for it", "the slowest sets the pace for all"),
        },
    ),
}
