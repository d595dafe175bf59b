"""Which node is asked, and what a caller is told when it changes. The nodes' answers are written down here."""

from types import SimpleNamespace

import pytest
import redis
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    SlotNotCoveredError,
    TryAgainError,
)

from orderstream import Settings, cluster
from orderstream.connection import ReplyLost, Trouble, trouble
from orderstream.errors import ConfigError

COMMANDS = [("XADD", "orders", "*", "data", n) for n in range(4)]


def moved():
    return MovedError("105 127.0.0.1:7001")


class Nodes:
    """What redis-py knows of a cluster: ``owner`` has every slot until somebody says otherwise."""

    def __init__(self, answers):
        self.answers = list(answers)
        self.owner, self.log = "first", []
        self.nodes_manager = self.connection_pool = self
        self.startup_nodes = {"url": SimpleNamespace(name="url")}

    def get_nodes(self):
        return [SimpleNamespace(name=name, host=name, port=7000) for name in ("first", "second")]

    def get_node_from_slot(self, slot):
        if self.owner is None:
            raise SlotNotCoveredError("nobody")
        return SimpleNamespace(name=self.owner)

    def get_redis_connection(self, node):
        return self

    def disconnect(self, *, inuse_connections):
        self.log.append("disconnect")

    def move_slot(self, error):
        self.owner = "second"
        self.log.append("moved")

    def initialize(self, known, last_failed_node_name):
        at_url = [*self.startup_nodes]
        asked = [*at_url, *(host for host, _ in known)]
        self.log.append(sorted(asked, key=lambda name: name == last_failed_node_name))

    def exchange(self, pool, commands):
        self.log.append((self.owner, [command[-1] for command in commands]))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def ask(monkeypatch):
    """``ask([answers of the first node], [of the next], …)``: the nodes, and what came of it."""

    def ask(*answers):
        nodes = Nodes(answers)
        monkeypatch.setattr(cluster, "exchange", nodes.exchange)
        return nodes, lambda: cluster.exchange_in_cluster(nodes, "orders", COMMANDS)

    return ask


def test_only_what_was_answered_with_moved_goes_to_the_new_owner(ask):
    nodes, run = ask([b"1", moved(), b"3", moved()], [b"2", b"4"])
    assert run() == [b"1", b"2", b"3", b"4"]
    assert nodes.log == [("first", [0, 1, 2, 3]), "moved", ("second", [1, 3])]


def test_a_reply_lost_by_the_new_owner_leaves_known_what_is_known(ask):
    """The third was answered, but behind the second, of which nobody knows."""
    _, run = ask([b"1", moved(), b"3", moved()], ReplyLost(OSError("cut"), []))
    with pytest.raises(ReplyLost) as caught:
        run()
    assert caught.value.replies == [b"1"]


def test_what_the_new_owner_still_said_is_put_in_its_place(ask):
    _, run = ask([b"1", moved(), b"3", moved()], ReplyLost(OSError("cut"), [b"2"]))
    with pytest.raises(ReplyLost) as caught:
        run()
    assert caught.value.replies == [b"1", b"2", b"3"]


def test_a_new_owner_that_is_not_reached_has_run_nothing(ask):
    """So this is no lost reply: what the first one ran is known, and the others may be sent again."""
    _, run = ask([b"1", b"2", moved(), moved()], redis.ConnectionError("refused"))
    *ran, third, fourth = run()
    assert ran == [b"1", b"2"]
    assert {type(third), type(fourth)} == {TryAgainError}


def test_nodes_that_send_each_other_round_in_circles_are_an_outage(ask):
    nodes, run = ask(*[[moved() for _ in COMMANDS]] * 9)
    replies = run()
    assert {trouble(reply) for reply in replies} == {Trouble.OUTAGE}
    assert len(nodes.answers) == 9 - 1 - cluster.REDIRECTS


def test_a_slot_on_its_way_is_an_outage(ask):
    _, run = ask([b"1", AskError("105 127.0.0.1:7001"), b"3", b"4"])
    assert trouble(run()[1]) is Trouble.OUTAGE


@pytest.mark.parametrize(
    "said", [ClusterDownError("The cluster is down", status_code="CLUSTERDOWN"), BusyLoadingError("reading")], ids=repr
)
def test_a_master_that_lost_its_place_is_asked_no_longer(ask, said):
    """One that is cut off from the others says CLUSTERDOWN for ever. The URL comes last: it may lead to this one."""
    nodes, run = ask([said] * 4)
    assert run() == [said] * 4
    assert nodes.log[-1] == ["second", "url"]


def test_a_url_that_names_the_master_that_lost_its_place_is_asked_last(ask):
    nodes, run = ask([BusyLoadingError("reading")] * 4)
    nodes.startup_nodes = {"first": None, "third": None}
    run()
    assert nodes.log[-1] == ["third", "second", "first"]


def test_a_master_that_is_gone_is_asked_no_longer(ask):
    nodes, run = ask(redis.ConnectionError("refused"))
    with pytest.raises(redis.ConnectionError, match="refused"):
        run()
    assert nodes.log[1:] == ["disconnect", ["url", "second"]], "the URL comes first: all may have new addresses"


def test_a_slot_that_nobody_has_is_an_outage(ask):
    nodes, run = ask()
    nodes.owner = None
    with pytest.raises(redis.RedisError, match="no node has the slot of 'orders'") as caught:
        run()
    assert trouble(caught.value) is Trouble.OUTAGE
    assert nodes.log == [["url", "first", "second"]]


@pytest.mark.parametrize(
    ("stream", "dlq", "advice"),
    [
        ("orders", "", "set ORDERSTREAM_DLQ={orders}-dlq"),
        ("{shop}:orders", "failed", "set ORDERSTREAM_DLQ={shop}:orders-dlq"),
        ("a{b", "", "set ORDERSTREAM_DLQ={a{b}-dlq"),
        ("a}b", "", "give both names the same {tag}"),
        ("a}b", "a}b-1231", "give both names the same {tag}"),
    ],
)
def test_keys_in_two_slots_are_refused_with_a_name_that_would_do(stream, dlq, advice):
    with pytest.raises(ConfigError) as caught:
        cluster.check_slots(Settings(stream=stream, dlq=dlq))
    assert str(caught.value).endswith(advice)


@pytest.mark.parametrize(("stream", "dlq"), [("orders", "{orders}-dlq"), ("{shop}:orders", ""), ("{a}", "a")])
def test_keys_in_one_slot_are_taken(stream, dlq):
    cluster.check_slots(Settings(stream=stream, dlq=dlq))
