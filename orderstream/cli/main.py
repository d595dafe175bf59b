"""
The command ``orderstream``: ``orderstream produce | consume | status | dlq | trim | doctor |
server | lab``.

Orders and state go to stdout, messages about the work go to stderr. An error is one line and exit code 1, or 2 for a
wrong command line. Ctrl-C, SIGTERM and SIGHUP end every command with 0. ``produce`` and ``consume`` first finish what
is in hand; a second signal, or the end of ``grace_s``, ends them at once with 1.
"""

from __future__ import annotations

import signal
import sys
import traceback

import click
import redis

import orderstream
from orderstream.cli import child
from orderstream.cli.consume import consume
from orderstream.cli.dlq import dlq
from orderstream.cli.doctor import doctor
from orderstream.cli.lab import lab
from orderstream.cli.options import which_stream
from orderstream.cli.produce import produce
from orderstream.cli.server import server
from orderstream.cli.status import status
from orderstream.cli.terminal import ENDINGS, coloured, open_console, output_trouble, printable
from orderstream.cli.trim import trim
from orderstream.errors import OrderStreamError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@which_stream
@click.version_option(orderstream.__version__)
def cli() -> None:
    """
    Send orders through a Redis stream, handle them, and look after those that failed.

    \b
    Try it in three terminals:
      orderstream produce --embedded          sends ten random orders a second
      orderstream consume --embedded          prints and acknowledges them
      orderstream status --embedded --watch   shows what is left, and who has it

    With --embedded they start and share a Redis. Without it they use the one that you name, or one on localhost:6379;
    orderstream server starts one there.

    All other settings are environment variables, ORDERSTREAM_…; config.py explains them. Keep a password in
    REDIS_URL: the options of a command are visible to others on this machine.
    """


for command in (produce, consume, status, dlq, trim, doctor, server, lab):
    cli.add_command(command)


def main() -> None:
    """Run the command that ``sys.argv`` asks for, and end the process."""
    open_console()
    for ending in ENDINGS:
        signal.signal(ending, signal.default_int_handler)  # raises KeyboardInterrupt; click turns it into an Abort
    try:
        code = _run()
    except BaseException:
        if not child.this:
            raise
        traceback.print_exc()
        code = 1
    if child.this:
        child.this.end(code)
    sys.exit(code)


def _run() -> int:
    """Run the command, say in one line why it failed, and return its exit code."""
    try:
        return cli.main(prog_name="orderstream", standalone_mode=False) or 0
    except click.Abort:
        return 0
    except SystemExit:  # click's way of saying that whoever read the output has left
        if isinstance(output_trouble(), BrokenPipeError):
            return 0  # as with `| head`: enough was read
        raise
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        see = f" See: {error.ctx.command_path} --help" if isinstance(error, click.UsageError) and error.ctx else ""
        line, code = error.format_message() + see, error.exit_code
    except OrderStreamError as error:
        line, code = str(error), 1
    except redis.RedisError as error:
        line, code = f"Redis: {error}", 1
    except OSError as error:
        if error is not output_trouble():
            raise
        line, code = f"the output cannot be written: {error.strerror or error}", 1
    click.echo(coloured("Error: ", "red") + printable(" ".join(line.split())), err=True)
    return code
