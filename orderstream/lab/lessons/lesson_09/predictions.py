"""The predictions of lesson 09: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "09a": (
        "40 orders per second come, 10 are handled. What becomes of pending, and of the oldest new order?",
        {
            "pending small, oldest gets older": "pending stays small, new orders wait longer and longer",
            "pending grows, oldest young": (
                "pending grows and grows, new orders do not wait",
                "slow handlers fill the pending list",
            ),
            "pending small, oldest young": (
                "both stay small: the producer is held back",
                "a full stream slows its producer",
            ),
        },
    ),
    "09b": (
        "c1 is killed with an order in hand, and new orders wait. When does c2 handle that order?",
        {
            "before the new": "once it is a suspect, before those that wait",
            "among the new": (
                "with those that wait: it is back in the stream",
                "Redis takes back what a lost connection had",
            ),
            "after the new": (
                "when no new one waits any more",
                "what is pending waits until nothing is new",
            ),
        },
    ),
    "09c": (
        "1-0 is in work, 2-0 is forgotten. Which number tells one from the other?",
        {
            "idle of the entry": "how long the order has been idle",
            "idle of the consumer": (
                "how long its consumer has been idle",
                "a consumer that reads is at work on all that it holds",
            ),
            "pending of the consumer": (
                "how much its consumer holds",
                "a dead consumer holds more than a busy one",
            ),
        },
    ),
    "09d": (
        "One poison order, four consumers. How many of them die?",
        {
            3: "3: one for each of its attempts",
            1: ("1: with the first, the order is gone", "an order dies with its consumer"),
            4: ("4: it goes from one to the next", "only an exception counts as an attempt"),
        },
    ),
}
