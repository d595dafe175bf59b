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
        "c1 is killed with an order in hand. What becomes of that order?",
        {
            "pending for c1, then acked": "it stays pending for c1, until c2 claims it",
            "free at once": (
                "it goes back to the stream at once, and c2 reads it",
                "Redis takes back what a lost connection had",
            ),
            "pending for c1": (
                "it stays pending for c1, until c1 is started again",
                "only its owner can finish an order",
            ),
        },
    ),
    "09c": (
        "Ann and Bob got one order each, ten minutes ago. Which question tells the busy from the dead?",
        {
            "idle of the entry": "how long each order has been idle",
            "pending of the consumer": ("how much each consumer holds", "a dead consumer holds more than a busy one"),
            "deliveries of the entry": (
                "how often each order was delivered",
                "an order in trouble was delivered often",
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
