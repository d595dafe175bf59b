"""The predictions of lesson 01: question, then observed value -> option. A wrong option names its belief."""

PREDICTIONS = {
    "01a": (
        "Ann reads the stream from its start, twice. Then Bob does. How many orders does each call get?",
        {
            "3 3 3": "3, 3, 3: each call gets all of them",
            "3 0 0": ("3, 0, 0: after the first call none is left", "reading removes, as in a queue"),
            "3 0 3": ("3, 0, 3: Ann has had hers, Bob has not", "Redis remembers how far an XREAD reader is"),
            "1 1 1": ("1, 1, 1: a read brings one order", "one read brings one entry"),
        },
    ),
    "01b": (
        "The last id is 5-0. Till B adds an entry as 4-0. Which ids are in the stream then?",
        {
            "5-0": "5-0 alone: Redis refuses 4-0",
            "4-0 5-0": ("4-0 5-0: Redis puts it where it belongs", "a stream sorts its entries by id"),
            "5-0 4-0": ("5-0 4-0: it goes to the end, as always", "an id is only a name"),
        },
    ),
    "01c": (
        "How many entries does XRANGE find from 2000 to 3000?",
        {
            4: "4: all of both milliseconds",
            3: ("3: up to 3000-0, and not 3000-7", "3000 is short for 3000-0, at both ends"),
            2: ("2: those of 2000", "a range leaves out its end, as in Python"),
        },
    ),
    "01d": (
        "Three orders, three XREADs from $. How many orders do they return together?",
        {
            0: "0: $ already stands after each new order",
            3: ("3: each finds the order that just came", "$ means the latest unread"),
            2: ("2: the first call only marks Bob's place", "Redis remembers how far an XREAD reader is"),
        },
    ),
    "01e": (
        "Two readers wait, one order comes. How many of them get it?",
        {
            2: "2: each of them",
            1: ("1: the one who has waited longer", "waiting readers take turns, as at a queue"),
            0: ("0: they asked before it came", "a read sees what was there when it began"),
        },
    ),
    "01f": (
        "BLOCK 1000, no order comes, the socket cuts after 200 ms. How does the call end?",
        {
            "TimeoutError, XREAD sent 4 times": "with an error after 800 ms",
            "empty reply, XREAD sent 1 times": ("with an empty reply after 1000 ms", "BLOCK n returns after n ms"),
            "TimeoutError, XREAD sent 1 times": ("with an error after 200 ms", "one call is one command"),
        },
    ),
}
