"""Commands on a console that is full, closed, or has no letter for what is printed."""

import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from orderstream import Order, Producer, random_orders

pytestmark = pytest.mark.any_server("what is printed is the same on each server")

FULL = Path("/dev/full")
OWN_FILE = """
def handle(order):
    with open("/dev/full", "w") as file:
        file.write(order.item)
"""
CHATTY = """
import sys
def handle(order):
    print(order.id, "x" * 100_000, file={where})
"""


@pytest.fixture
def full():
    """A disk that is full."""
    with FULL.open("wb") as file:
        yield file


@pytest.fixture
def closed(environ, tmp_path):
    """``closed(1, "status")``: run a command that was started without this descriptor: (exit code, stdout, stderr)."""

    def run(number, *args):
        close = f"import os, sys; os.close({number}); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        command = [sys.executable, "-c", close, "-m", "orderstream", *args]
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout, done.stderr

    return run


# Full -----------------------------------------------------------------------------------------------------


@pytest.mark.row(69)
@pytest.mark.parametrize("processes", [0, 1, 2])
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("shop", [None, CHATTY.format(where="sys.stdout")], ids=["default", "own"])
def test_an_output_that_is_full_costs_no_order_an_attempt(
    start, environ, stream, pending, tmp_path, full, processes, unbuffered, shop
):
    environ["PYTHONUNBUFFERED"] = unbuffered
    (tmp_path / "shop.py").write_text(shop or "")
    Producer(stream).send_many(islice(random_orders(1), 20))
    handler = ["--handler", "shop:handle"] if shop else []
    process = start("consume", "--processes", processes, *handler, stdout=full)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Traceback" not in err
    said = re.findall(r"^Error: the output cannot be written: No space left on device", err, re.M)
    assert len(said) == max(1, processes)
    left = stream.backlog()
    assert (left.dead_lettered, left.done) == (0, False)
    assert {count for _, _, count in pending().values()} <= {0}


@pytest.mark.row(69)
def test_an_output_that_is_full_ends_the_waiting_for_an_idle_time(start, stream, full):
    Producer(stream).send_many(islice(random_orders(1), 20))
    process = start("consume", "--until-idle", 0.1, stdout=full)
    process.communicate(timeout=20)
    assert process.returncode == 1
    assert (stream.backlog().dead_lettered, stream.backlog().done) == (0, False)


@pytest.mark.row(69)
def test_messages_that_nobody_can_read_cost_no_order_an_attempt(start, stream, tmp_path, full):
    """Those of the handler, too: they are dropped, and the work goes on."""
    (tmp_path / "shop.py").write_text(CHATTY.format(where="sys.stderr") + "    print(order.item)\n")
    Producer(stream).send(Order("o-1", "figs", 3))
    process = start("consume", "--handler", "shop:handle", "--until-idle", 0, stderr=full)
    assert process.communicate(timeout=20)[0] == "figs\n"
    assert process.returncode == 0
    assert (stream.backlog().done, stream.backlog().dead_lettered) == (True, 0)


@pytest.mark.row(69)
def test_a_file_of_the_handler_that_is_full_is_its_failure(run, stream, tmp_path):
    (tmp_path / "shop.py").write_text(OWN_FILE)
    Producer(stream).send(Order("o-1", "figs", 3))
    code, _, err = run("consume", "--handler", "shop:handle", "--until-idle", 0.1)
    assert code == 0, err
    assert stream.backlog().dead_lettered == 1


@pytest.mark.row(69)
@pytest.mark.parametrize("command", ["status", "doctor", "produce --rate 100", "--help"])
def test_a_command_whose_output_is_full_says_so_in_one_line(start, full, command):
    process = start(*command.split(), stdout=full)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "Error: the output cannot be written: No space left on device"
    assert "Traceback" not in err
    assert "Exception ignored" not in err


# A handler that does something to it ----------------------------------------------------------------------


@pytest.mark.row(69)
@pytest.mark.parametrize("processes", [0, 1])
@pytest.mark.parametrize(
    "harm",
    [
        "os.close(1)",
        "os.close(2)",
        "sys.stdout.close()",
        "sys.stderr.close()",
        "sys.stdout = None",
        "sys.stdout = sys.stderr = object()",
        "sys.stdout = open(os.devnull, 'w'); sys.stdout.close()",
        "sys.stdout.detach()",
    ],
)
def test_what_one_order_does_to_the_console_harms_no_other(run, stream, tmp_path, harm, processes):
    (tmp_path / "shop.py").write_text(
        f"import os, sys\ndef handle(order):\n    if order.id == 'o-1':\n        {harm}\n        return\n"
        "    print(order.id)\n"
    )
    Producer(stream).send_many(Order(f"o-{n}", "figs", 3) for n in range(1, 4))
    code, out, err = run("consume", "--handler", "shop:handle", "--until-idle", 0, "--processes", processes)
    assert (code, out) == (0, "o-2\no-3\n"), err
    assert stream.backlog().dead_lettered == 0
    assert "started again" not in err


@pytest.mark.row(69)
def test_a_handler_that_closes_every_file_and_prints_fails_alone_and_the_service_goes_on(run, stream, tmp_path):
    (tmp_path / "shop.py").write_text(
        "import os\ndef handle(order):\n    if order.id == 'o-1':\n        os.closerange(3, 256)\n"
        "    print(order.id, flush=True)\n"
    )
    Producer(stream).send_many(Order(f"o-{n}", "figs", 3) for n in range(1, 4))
    code, out, err = run("consume", "--handler", "shop:handle", "--until-idle", 0)
    assert (code, sorted(out.split())) == (0, ["o-2", "o-3"]), err
    assert stream.backlog().dead_lettered == 1


# An encoding without the letter ---------------------------------------------------------------------------


@pytest.mark.row(69)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_letter_that_the_encoding_does_not_have_is_escaped(run, environ, stream, encoding):
    environ["PYTHONIOENCODING"] = encoding
    Producer(stream).send(Order("o-1", "tea \u2615", 3))
    code, out, err = run("consume", "--until-idle", 0)
    assert (code, out) == (0, "o-1    3 tea \\u2615\n"), err
    assert stream.backlog().dead_lettered == 0


@pytest.mark.row(69)
def test_what_a_handler_prints_is_escaped_too(run, environ, stream, tmp_path):
    environ["PYTHONIOENCODING"] = "ascii"
    (tmp_path / "shop.py").write_text("def handle(order):\n    print(order.item)\n")
    Producer(stream).send(Order("o-1", "tea \u2615", 3))
    assert run("consume", "--handler", "shop:handle", "--until-idle", 0)[:2] == (0, "tea \\u2615\n")


@pytest.mark.row(69)
@pytest.mark.parametrize("command", ["doctor", "status", "dlq list"])
def test_no_command_fails_for_a_letter(run, environ, command):
    environ["PYTHONIOENCODING"] = "ascii"
    _, out, err = run(*command.split())
    assert out or err
    assert "Traceback" not in err


# Closed ---------------------------------------------------------------------------------------------------


@pytest.mark.row(69)
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize(
    "command", ["status", "status --json", "produce --count 3", "dlq list --json", "dlq purge --all", "consume"]
)
def test_a_descriptor_that_is_closed_disturbs_no_command(closed, stream, number, command):
    idle = ["--until-idle", "0"] if command == "consume" else []
    code, _, err = closed(number, *command.split(), *idle)
    assert (code, "Traceback" in err) == (0, False), err


@pytest.mark.row(69)
@pytest.mark.parametrize("processes", [0, 1])
def test_no_connection_gets_the_number_of_stderr(start, stream, tmp_path, processes):
    """Whoever writes messages there would send them to Redis."""
    (tmp_path / "shop.py").write_text(
        "import os, stat\ndef handle(order):\n    print(*(stat.S_ISSOCK(os.fstat(n).st_mode) for n in range(3)))\n"
    )
    close = (
        "import os, sys; os.close(2); os.execv(sys.executable, [sys.executable, '-m', 'orderstream', *sys.argv[1:]])"
    )
    Producer(stream).send(Order("o-1", "figs", 3))
    options = ["--handler", "shop:handle", "--processes", processes, "--until-idle", 0]
    process = start("consume", *options, through=("-c", close))
    assert process.communicate(timeout=20)[0] == "False False False\n"
    assert process.returncode == 0
