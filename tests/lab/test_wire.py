"""What `lab.wire` prints is what went over the wire, the same in every run."""

import os
from contextlib import suppress

import pytest
import redis

from orderstream import lab
from orderstream.lab.workers.lossy_link import LossyLink


@pytest.fixture
def said(capsys):
    """Return what was printed since the last call."""
    return lambda: capsys.readouterr().out


def test_a_command_is_shown_as_typed_and_its_reply_as_sent(lesson, said):
    """redis-py makes a list of tuples and dicts of it; Redis sends lists."""
    with lab.wire(lesson):
        lesson.xadd("orders", {"item": "green tea"}, id="1-0")
        reply = lesson.xread({"orders": "0"}, count=1)
    assert reply == [["orders", [("1-0", {"item": "green tea"})]]]
    assert said() == (
        "> XADD orders 1-0 item 'green tea'\n"
        "  '1-0'\n"
        "> XREAD COUNT 1 STREAMS orders 0\n"
        "  [['orders', [['1-0', ['item', 'green tea']]]]]\n"
    )


def test_what_redis_py_adds_by_itself_is_shown(lesson, said):
    """The learner wrote maxlen=10, and a ~ went out."""
    with lab.wire(lesson):
        lesson.xadd("orders", {"item": "tea"}, id="1-0", maxlen=10)
    assert "> XADD orders MAXLEN ~ 10 1-0 item tea" in said()


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        ("tea", "tea"),
        ("", "''"),
        ('{"id": 1}', """'{"id": 1}'"""),
        ("it's", '''"it's"'''),
        ('a\\"b\n', r'"a\\\"b\n"'),
        (b"a\xff", r'"a\xff"'),
        ("x" * 100, "x" * 43 + "…"),
    ],
)
def test_words_are_quoted_as_redis_cli_wants_them(lesson, said, value, typed):
    """What is on the screen can be typed, unless it was cut."""
    with lab.wire(lesson):
        lesson.set("orders", value)
    assert said() == f"> SET orders {typed}\n  'OK'\n"


def test_a_pipeline_is_one_round_trip(lesson, said):
    """Its commands stand together, in MULTI or not, and the replies to all come with EXEC."""
    with lab.wire(lesson) as line:
        lesson.pipeline(transaction=False).set("orders", "1").get("orders").execute()
        lesson.pipeline(transaction=True).get("orders").execute()
    assert said() == (
        "2 commands in one round trip:\n    > SET orders 1\n      'OK'\n    > GET orders\n      '1'\n"
        "3 commands in one round trip:\n    > MULTI\n      'OK'\n"
        "    > GET orders\n      'QUEUED'\n    > EXEC\n      ['1']\n"
    )
    assert (line.round_trips, line.commands) == (2, ["SET", "GET", "MULTI", "GET", "EXEC"])


def test_a_long_pipeline_shows_its_beginning_and_its_end(lesson, said):
    """2000 lines would hide the rest of the lesson, and EXEC has the replies."""
    with lab.wire(lesson):
        pipe = lesson.pipeline(transaction=True)
        for n in range(1, 101):
            pipe.xadd("orders", {"item": "tea"}, id=f"{n}-0")
        pipe.execute()
    lines = said().splitlines()
    assert [line.strip() for line in lines if "…" in line or "EXEC" in line] == [
        "… 97 more",
        "> EXEC",
        "['1-0', '2-0', '3-0', '4-0', … 96 more]",
    ]
    assert len(lines) < 15


def test_a_command_of_many_words_is_cut(lesson, said):
    """XDEL of a thousand ids is one command, and one line."""
    with lab.wire(lesson):
        lesson.delete(*(f"key-{n}" for n in range(1, 101)))
    assert said().splitlines()[0].endswith(" key-14 key-15 … 85 more")


def test_no_milliseconds_are_shown(lesson, said):
    """Idle times differ in each run; the delivery count does not."""
    lesson.xadd("orders", {"item": "tea"}, id="1-0")
    lesson.xgroup_create("orders", "order_group", id="0")
    lesson.xreadgroup("order_group", "ann", {"orders": ">"})
    with lab.wire(lesson):
        lesson.xpending_range("orders", "order_group", "-", "+", 10)
    assert said() == "> XPENDING orders order_group - + 10\n  [['1-0', 'ann', <ms>, 1]]\n"


def test_an_error_is_shown_and_still_raised(lesson, said):
    """It belongs to what came back."""
    lesson.set("orders", "a note")
    with lab.wire(lesson), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lesson.xlen("orders")
    assert "  (error) WRONGTYPE" in said()


def test_a_command_that_is_sent_again_is_shown_again(lesson, said):
    """One call, two commands: the hidden retry of redis.Redis()."""
    db = lesson.connection_pool.connection_kwargs["db"]
    with LossyLink() as link, redis.Redis(port=link.port, db=db) as shop:
        link.lose_reply("XADD")
        with lab.wire(shop) as line:
            shop.xadd("orders", {"item": "tea"})
    assert line.commands == ["XADD", "XADD"]
    assert said().splitlines()[:3] == [
        "> XADD orders * item tea",
        "  (no reply: ConnectionError)",
        "> XADD orders * item tea",
    ]


def test_a_reply_that_redis_py_cannot_read_is_told_as_such(lesson, said):
    """Without a line, the command would look as if it was never sent."""
    lesson.set("orders", b"\xff")
    with lab.wire(lesson), pytest.raises(UnicodeDecodeError):
        lesson.get("orders")
    assert said() == "> GET orders\n  (no reply: UnicodeDecodeError)\n"


@pytest.mark.parametrize(
    "command",
    [
        ("AUTH", "S3cret"),
        ("AUTH", "default", "S3cret"),
        ("HELLO", "3", "AUTH", "default", "S3cret"),
        ("ACL", "SETUSER", "ann", ">S3cret"),
        ("CONFIG", "SET", "masterauth", "S3cret"),
    ],
)
def test_no_password_is_shown(lesson, said, command):
    """A notebook is committed with its outputs."""
    with lab.wire(lesson), suppress(redis.RedisError):
        lesson.execute_command(*command)
    lesson.acl_deluser("ann")
    lesson.config_set("masterauth", "")
    assert said().startswith(f"> {command[0]} …\n")
    assert "S3cret" not in said()


def test_what_a_connection_says_of_itself_is_not_shown(guest_on, said):
    """AUTH, SELECT and HELLO belong to nobody's cell."""
    url = guest_on("--requirepass", "S3cret").replace("redis://", "redis://:S3cret@") + "/3"
    with redis.Redis.from_url(url) as client, lab.wire(client) as line:
        client.ping()
    assert said() == "> PING\n  'PONG'\n"
    assert line.round_trips == 1


def test_the_client_is_as_before_afterwards(lesson, said):
    """Also when the cell fails: nothing more is printed, and nothing is left open."""
    pool = lesson.connection_pool
    with pytest.raises(redis.ResponseError), lab.wire(lesson):
        lesson.execute_command("NONSENSE")
    said()
    assert lesson.connection_pool is pool
    lesson.ping()
    assert said() == ""


def test_only_the_first_round_trips_are_printed_and_all_are_counted(lesson, said):
    """A loop of a thousand commands stays readable."""
    with lab.wire(lesson, shown=2) as line:
        for _ in range(5):
            lesson.ping()
    assert said() == "> PING\n  'PONG'\n> PING\n  'PONG'\n… 3 more round trips\n"
    assert line.round_trips == 5
    with lab.wire(lesson, shown=0):
        lesson.ping()
    assert said() == ""


def test_replies_of_resp3_are_shown_as_maps(lesson, said):
    """What redis.Redis() speaks unless it is told otherwise."""
    lesson.xadd("orders", {"item": "tea"}, id="1-0")
    with redis.Redis.from_url(os.environ["REDIS_URL"], protocol=3) as client, lab.wire(client):
        client.xread({"orders": "0"})
    assert said() == "> XREAD STREAMS orders 0\n  {'orders': [['1-0', ['item', 'tea']]]}\n"
