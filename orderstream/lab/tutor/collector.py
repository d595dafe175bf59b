"""
Collect the scoreboards of a class over the room's network, without mail.

    python -m orderstream.lab.tutor.collector handed-in      the teacher: runs until Ctrl-C, and says what learners type
    lab.hand_in("http://192.168.1.5:8700", "Ann")            a learner, in any notebook

Each learner has one file in the folder; who hands in again replaces it. Its name is drawn by lot on the learner's
machine, so it says nothing about anybody. `orderstream.lab.tutor.classroom` draws the folder. Who knows the address can
hand in a scoreboard and do nothing else: nobody can read one, or name a file.
"""

from __future__ import annotations

import argparse
import re
import secrets
import socket
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec

from orderstream.lab.tutor.predict import home
from orderstream.lab.tutor.scoreboard import File, Scoreboard, counted, scoreboard

PORT = 8700
LONGEST_BYTES = 200_000
"""Of one scoreboard. All predictions of the course, all wrong, are 17,000 (66 of them)."""

MOST_FILES = 1_000
"""In one folder: a program gone wild does not fill the disk."""

TIMEOUT_S = 10


def hand_in(address: str, name: str | None = None) -> Scoreboard:
    """
    Save your scoreboard, as `scoreboard` does, and send it to your teacher.

    Args:
        address: What the teacher wrote on the board, such as ``"http://192.168.1.5:8700"``.
        name: Your name, if the file should have it.

    Returns:
        The scoreboard, to be shown as the result of its cell. It says whether it arrived; if not, the file is there.

    Raises:
        ValueError: This is no address.
    """
    if not re.match(r"https?://[^/]", address):
        raise ValueError(f"an address looks like http://192.168.1.5:{PORT}, not {address!r}")
    board = scoreboard(name)
    if not board.answers:
        return board
    sent = msgspec.json.encode(File(board.name, board.answers))
    try:
        wish = urllib.request.Request(f"{address.rstrip('/')}/{_lot()}", sent, method="PUT")
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the teacher is in this room
        direct.open(wish, timeout=TIMEOUT_S).close()
        board.note = f"Handed in to {address}."
    except urllib.error.HTTPError as refusal:
        board.note = f"Not handed in: {address} answers {refusal.code} {refusal.reason}. {board.note}"
        refusal.close()
    except OSError as exc:
        reason = getattr(exc, "reason", exc)
        board.note = f"Not handed in: nobody answers at {address} ({reason}). {board.note}"
    return board


def _lot() -> str:
    """Return the name of this learner's file at the teacher's: drawn once, and kept beside the predictions."""
    path = home() / "lot"
    if not path.exists():
        path.write_text(secrets.token_hex(8))
    return path.read_text()


class Collector(ThreadingHTTPServer):
    """
    Keeps what learners hand in.

    Args:
        folder: Where the files go.
        address: Host and port to listen at; port 0: any.
    """

    daemon_threads = True

    def __init__(self, folder: Path, address: tuple[str, int]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(address, _Desk)

    def keep(self, lot: str, sent: bytes) -> str:
        """
        Write a scoreboard, and return a line about it.

        Raises:
            msgspec.DecodeError: It is none.
            OSError: It cannot be kept.
        """
        file = msgspec.json.decode(sent, type=File)
        path = self.folder / f"{lot}.json"
        if not path.exists() and self.count() >= MOST_FILES:
            raise OSError(f"{MOST_FILES} files are enough")
        draft = path.with_suffix(".draft")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=1))
        draft.replace(path)
        board = Scoreboard(file.name, file.answers)
        who = "".join(filter(str.isprintable, file.name or "")) or "somebody"
        return f"{who}: {board.summary()} ({counted(self.count(), 'scoreboard')} so far)"

    def count(self) -> int:
        return len(list(self.folder.glob("*.json")))


class _Desk(BaseHTTPRequestHandler):
    server: Collector
    timeout = TIMEOUT_S
    server_version, sys_version = "orderstream", ""

    def do_PUT(self) -> None:
        lot = re.fullmatch(r"/([0-9a-f]{16})", self.path)
        length = self.headers.get("Content-Length", "")
        if not lot or not length.isdecimal() or int(length) > LONGEST_BYTES:
            self.send_error(400, "Not a scoreboard")
            return
        try:
            line = self.server.keep(lot[1], self.rfile.read(int(length)))
        except msgspec.DecodeError:
            self.send_error(400, "Not a scoreboard")
        except OSError as exc:
            print(f"not kept: {exc}", file=sys.stderr, flush=True)
            self.send_error(507, "It cannot be kept here")
        else:
            print(line, flush=True)
            self.send_response(204)
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of the request itself: `keep` has a line for what was handed in."""


def _own_address() -> str:
    """Return this machine's address in the room. A UDP socket that is connected sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:  # no network
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m orderstream.lab.tutor.collector", description=Collector.__doc__)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--host", default="0.0.0.0", help="listen here only; 127.0.0.1 on a hub (default: everywhere)")
    parser.add_argument("--port", type=int, default=PORT, help=f"(default: {PORT}; 0: any)")
    given = parser.parse_args(argv)
    try:
        collector = Collector(given.folder, (given.host, given.port))
    except OSError as exc:
        print(f"collector: {exc.filename or given.port}: {exc.strerror}", file=sys.stderr)
        return 1
    host = _own_address() if given.host == "0.0.0.0" else given.host
    print(f'Learners type: lab.hand_in("http://{host}:{collector.server_port}")', flush=True)
    with collector:
        try:
            collector.serve_forever()
        except KeyboardInterrupt:
            print(f"\n{counted(collector.count(), 'scoreboard')} in {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
