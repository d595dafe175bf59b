"""Messages of a type of your own: which types may be one, what travels, what is refused, and what names a message."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

from orderstream import Order, OrderStream, Settings
from orderstream.connection import open_client
from orderstream.errors import ConfigError, DecodeError, OrderError
from orderstream.form import ORDERS
from orderstream.message_types import form_of
from orderstream.order import MAX_BYTES
from tests.payments import KINDS, OfDataclass, OfPydantic, OfPydanticDataclass, OfStruct, OfTypedDict, paid, spoilt

TEA = Order("o-1", "tea", 2)

each_kind = pytest.mark.parametrize("kind", KINDS)


# Which types -------------------------------------------------------------------------------------------------


def test_without_a_type_of_yours_a_message_is_an_order():
    with open_client(Settings()) as client:
        assert OrderStream(client, Settings()).form is ORDERS
        assert OrderStream(client, Settings(), Order).form is ORDERS


def test_pydantic_is_imported_by_nobody_but_you():
    code = (
        "import sys, dataclasses, orderstream.message_types as types\n"
        "@dataclasses.dataclass\n"
        "class Payment:\n"
        "    id: str\n"
        "types.form_of(Payment)\n"
        "print('pydantic' in sys.modules, 'attr' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "False"]


class Plain:
    id: str


@dataclass
class Holder:
    id: str
    plain: Plain | None = None


@dataclass
class Mixed:
    id: str
    paid: OfPydantic


@dataclass
class MixedDataclass:
    id: str
    paid: list[OfPydanticDataclass]


@dataclass
class Caller:
    id: str
    call: Callable[[], None]


@dataclass
class Undecided:
    id: str
    what: list[int] | tuple[str, int]


@dataclass
class Ahead:
    id: str
    what: "NobodyHasMadeThis"  # noqa: F821


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (Plain, "Plain cannot be a message: msgspec cannot read the type Plain; use a dataclass, "),
        (Holder, "Holder cannot be a message: msgspec cannot read the type Plain in it; use "),
        (Mixed, "Mixed cannot be a message: msgspec cannot read the type OfPydantic in it; use "),
        (MixedDataclass, "msgspec cannot read the type OfPydanticDataclass in it"),
        (Caller, "msgspec cannot read the type Callable in it"),
        (Undecided, "Undecided cannot be a message: Type unions may not contain more than one array-like"),
        (Ahead, "Ahead cannot be a message: name 'NobodyHasMadeThis' is not defined"),
        ("Payment", "Payment cannot be a message: Type ''Payment'' is not supported"),
        (print, "print cannot be a message: "),
    ],
    ids=repr,
)
def test_a_type_that_cannot_be_a_message_is_refused_at_once_and_the_line_says_what_could(message, said):
    """Else every entry would be a dead letter."""
    with pytest.raises(ConfigError) as caught:
        form_of(message, None)
    assert said in str(caught.value)
    assert str(caught.value).endswith("; use a dataclass, a msgspec Struct, a TypedDict, an attrs class, or a pydantic "
                                      "2 model")  # fmt: skip
    assert "\n" not in str(caught.value)


@dataclass
class Tree:
    id: str
    below: "list[Tree]" = field(default_factory=list)
    note: object = None
    more: Any = None


T = TypeVar("T")


class Envelope(msgspec.Struct, Generic[T]):
    id: str
    body: T


class Row(NamedTuple):
    id: str
    cents: int


class Rush(Order):
    """An order is a Struct, and may have a child."""

    hours: int


class Paid(msgspec.Struct, tag=True):
    id: str


class Refunded(msgspec.Struct, tag=True):
    id: str
    why: str


@pytest.mark.parametrize(
    ("message", "key", "one"),
    [
        (Tree, None, Tree("a", [Tree("b"), Tree("c", more={"deep": [1]})], "note")),
        (Envelope[OfStruct], None, Envelope("e-1", paid(OfStruct))),
        (Row, None, Row("r-1", 7)),
        (Rush, None, Rush("o-1", "tea", 2, 24)),
        (dict, lambda message: message["id"], {"id": "d-1", "anything": [None, 1.5]}),
        (Paid | Refunded, lambda message: message.id, Refunded("p-1", "broken")),
    ],
    ids=["a tree", "generic", "a named tuple", "a child of Order", "a dict", "one of two"],
)
def test_whatever_msgspec_reads_and_writes_may_be_a_message(message, key, one):
    form = form_of(message, key)
    assert form.from_fields(form.to_fields(one)) == one
    assert form.key(one) == (one["id"] if isinstance(one, dict) else one.id)


# What travels ------------------------------------------------------------------------------------------------


@each_kind
def test_the_wire_form_is_one_field_with_a_json_object_as_that_of_an_order(kind):
    name, value = form_of(kind, None).to_fields(paid(kind))
    assert name == b"data"
    assert json.loads(value) == {"id": "p-1", "cents": 250, "rate": None}


@each_kind
@pytest.mark.parametrize("payment", [{}, {"id": 'ö "1"\n🫖', "cents": 2**53, "rate": 1e300}])
def test_a_message_survives_the_way_there_and_back(kind, payment):
    form, one = form_of(kind, None), paid(kind, **payment)
    again = form.from_fields(form.to_fields(one))
    assert again == one
    assert type(again) is type(one)


@each_kind
def test_a_message_written_by_another_program_is_read_and_what_is_unknown_in_it_ignored(kind):
    data = b' {"cents": 250, "colour": {"deep": [1]}, "rate": null, "id": "p-1"} '
    fields = [b"traceparent", b"00-1", b"data", data, b"\xff", b"\xfe", b"data", b"junk"]
    assert form_of(kind, None).from_fields(fields) == paid(kind)


NO_PAYMENT = [
    b"",
    b"junk",
    b"null",
    b"[]",
    b"{}",
    b'{"id":"a"}',
    b'{"id":"a","cents":1,"rate":null}junk',
    b'{"id":"a","cents":"x","rate":null}',
    b'{"id":"a","cents":1.5,"rate":null}',
    b'{"id":"a","cents":null,"rate":null}',
    b'{"id":"a","cents":0,"rate":null}',
    b'{"id":7,"cents":1,"rate":null}',
    b'{"id":"\xff","cents":1,"rate":null}',
    b'{"id":"\\ud800","cents":1,"rate":null}',
    b"[" * 100_000,
    b'{"id":"a","cents":1,"rate":null,"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
]


@pytest.mark.row(42)
@each_kind
@pytest.mark.parametrize("data", NO_PAYMENT, ids=lambda data: data[:45].decode("latin-1"))
def test_what_is_no_such_message_fails_in_one_way(kind, data):
    with pytest.raises(DecodeError) as caught:
        form_of(kind, None).from_fields([b"data", data])
    assert str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.row(39)
@pytest.mark.parametrize("message", [Order, *KINDS])
def test_what_is_too_long_is_not_even_decoded(message):
    with pytest.raises(DecodeError, match="1,000,001 bytes, 1,000,000 is the most"):
        form_of(message, None).from_fields([b"data", b"[" * 1_000_001])


@pytest.mark.parametrize("message", [Order, *KINDS])
@pytest.mark.parametrize("fields", [[], [b"Data", b"{}"], [b"body", b'{"id":"a","cents":1,"rate":null}']])
def test_an_entry_without_the_field_data_is_no_message(message, fields):
    with pytest.raises(DecodeError, match="no field named 'data'"):
        form_of(message, None).from_fields(fields)


def test_the_reason_names_what_is_wrong_and_shows_no_value():
    """It is logged and listed, and a message may hold what is nobody's business."""
    fields = [b"data", b'{"id":["secret"],"cents":-4111}']
    with pytest.raises(DecodeError) as caught:
        form_of(OfPydantic, None).from_fields(fields)
    assert str(caught.value) == (
        "Input should be a valid string - at `$.id`; Input should be greater than 0 - at `$.cents`"
    )
    with pytest.raises(DecodeError, match=r"^Expected `str`, got `array` - at `\$.id`$"):
        form_of(OfDataclass, None).from_fields(fields)


@dataclass
class Looked:
    """Its maker looks something up."""

    id: str
    trouble: str

    def __post_init__(self):
        kinds = {"value": ValueError, "type": TypeError, "assert": AssertionError, "away": ConnectionError}
        if kind := kinds.get(self.trouble):
            raise kind(f"no {self.id}")


@pytest.mark.parametrize("trouble", ["value", "type", "assert"])
def test_a_check_of_its_own_that_fails_says_that_the_message_is_wrong(trouble):
    with pytest.raises(DecodeError, match="no p-1"):
        form_of(Looked, None).from_fields([b"data", b'{"id":"p-1","trouble":"%s"}' % trouble.encode()])


def test_trouble_that_a_check_runs_into_says_nothing_about_the_message():
    """The consumer tries it again: if a database is away, that passes."""
    with pytest.raises(ConnectionError):
        form_of(Looked, None).from_fields([b"data", b'{"id":"p-1","trouble":"away"}'])


# What is not sent --------------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize(
    "changes",
    [{"cents": 0}, {"cents": "many"}, {"cents": None}, {"id": None}, {"id": "p-\ud800"}],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_what_could_not_be_read_is_not_sent(kind, changes):
    """Python lets everybody make such a message; the error comes to who sends it."""
    with pytest.raises(OrderError, match=f"this {kind.__name__} cannot be sent: "):
        form_of(kind, None).to_fields(spoilt(kind, **changes))


@each_kind
@pytest.mark.parametrize("rate", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_does_not_have_is_not_sent_as_nothing(kind, rate):
    """Both msgspec and pydantic write null for it, and None may be allowed there."""
    with pytest.raises(OrderError, match="Out of range float values"):
        form_of(kind, None).to_fields(paid(kind, rate=rate))


@pytest.mark.parametrize(
    "value",
    [1j, object(), {"deep": [float("nan")]}, {1: float("inf")}, {("a", 1): 2}, (n for n in "abc")],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_not_sent(value):
    with pytest.raises(OrderError, match="this Tree cannot be sent: "):
        form_of(Tree, None).to_fields(Tree("a", more=value))


def test_what_holds_itself_is_not_sent():
    tree = Tree("a")
    tree.below.append(tree)
    with pytest.raises(OrderError, match="recursion"):
        form_of(Tree, None).to_fields(tree)


@each_kind
def test_the_longest_message_is_not_too_long_to_be_read(kind):
    form, around = form_of(kind, None), len(form_of(kind, None).to_fields(paid(kind))[1]) - len("p-1")
    longest = paid(kind, id="x" * (MAX_BYTES - around))
    assert form.from_fields(form.to_fields(longest)) == longest
    with pytest.raises(OrderError, match="has 1,000,001 bytes as JSON, 1,000,000 is the most; store the rest"):
        form.to_fields(paid(kind, id="x" * (MAX_BYTES - around + 1)))


@each_kind
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_message_of_another_type_is_not_sent(kind):
    with pytest.raises(OrderError):
        form_of(kind, None).to_fields(TEA)


def test_a_message_of_another_type_is_no_order():
    with pytest.raises(AttributeError):
        ORDERS.to_fields(paid(OfDataclass))


# What names a message ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [Order, *KINDS])
def test_the_id_names_a_message(message):
    one = TEA if message is Order else paid(message, id="o-1")
    assert form_of(message, None).key(one) == "o-1"


@pytest.mark.parametrize("message", [Order, *KINDS])
def test_a_key_of_yours_names_it_otherwise(message):
    one = TEA if message is Order else paid(message)
    assert form_of(message, lambda one: "till-7").key(one) == "till-7"


@dataclass
class Numbered:
    number: int


class NumberedStruct(msgspec.Struct):
    ids: list[str]


class NumberedModel(pydantic.BaseModel):
    number: int


@attrs.define
class NumberedAttrs:
    number: int


@pytest.mark.parametrize("message", [Numbered, NumberedStruct, NumberedModel, NumberedAttrs, dict, Paid | Refunded])
def test_a_type_without_an_id_needs_a_key(message):
    with pytest.raises(ConfigError, match=r"has no `id`; say which field names a message: connect\(message="):
        form_of(message, None)


def test_the_line_about_a_missing_id_can_be_copied():
    with pytest.raises(ConfigError) as caught:
        form_of(Numbered, None)
    assert str(caught.value).endswith(": connect(message=Numbered, key=lambda numbered: numbered.…)")


def test_an_id_may_be_worked_out():
    @dataclass
    class Line:
        bill: int
        line: int

        @property
        def id(self):
            return f"{self.bill}-{self.line}"

    assert form_of(Line, None).key(Line(7, 2)) == "7-2"


def test_a_key_is_a_function_and_no_name():
    with pytest.raises(ConfigError, match="key='number' must be a function of a message, such as key=lambda numbered"):
        form_of(Numbered, "number")


@pytest.mark.parametrize(
    ("found", "text"),
    [("p-1", "p-1"), (7, "7"), (0, "0"), (-1, "-1"), (UUID(int=7), "00000000-0000-0000-0000-000000000007")],
)
def test_of_a_number_or_a_uuid_the_text_counts(found, text):
    assert form_of(OfDataclass, lambda payment: found).key(paid(OfDataclass)) == text


@pytest.mark.parametrize("found", [None, "", True, 1.5, b"p-1", "p-\ud800", ["p-1"]], ids=repr)
def test_what_does_not_name_one_message_is_no_key(found):
    """Two messages whose id is None are not the same message."""
    with pytest.raises(OrderError, match="the key of this OfDataclass must be text, a whole number or a UUID, not "):
        form_of(OfDataclass, lambda payment: found).key(paid(OfDataclass))


def test_an_id_that_a_message_may_lack_is_looked_for_when_it_is_needed():
    class Maybe(msgspec.Struct):
        id: str | None = None

    form = form_of(Maybe, None)
    assert form.from_fields(form.to_fields(Maybe())) == Maybe()
    with pytest.raises(OrderError, match="not None"):
        form.key(Maybe())


def test_a_key_that_fails_says_so_itself():
    with pytest.raises(KeyError, match="number"):
        form_of(OfTypedDict, lambda payment: payment["number"]).key(paid(OfTypedDict))
