"""
The folders of servers: where one keeps its data, and where the commands of one user meet.

A lock says that a folder is in use. It belongs to an open file, so the system gives it back when the last process that
has the file is gone, in whatever way it ended. A server inherits the file: no second one can have the same data.
"""

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from orderstream.embedded.find import ServerError
from orderstream.software import named, software_at

IN_USE, WRITTEN_BY, JOINING, SOCKET = "orderstream.lock", "written-by.txt", "joining.lock", "redis.sock"
LONGEST_PATH = 103  # bytes of a socket's path; macOS takes no more, Linux four more
ENDING_S = 5.0  # how long a server whose guard was killed may take to be gone


def take(folder: Path, executable: str) -> int:
    """
    Make *folder* if it is missing, and take it for the data of one server.

    Args:
        folder: Where the data is, or will be.
        executable: The server that is to use it.

    Returns:
        An open file. The folder is in use as long as this process has it, or a server that inherits it.

    Raises:
        ServerError: Another server has its data there, or one has written it that stores it in another way, or the
            folder cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_format(folder, executable)
        file = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + ENDING_S
        while time.monotonic() < deadline:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (folder / WRITTEN_BY).write_text(f"{executable}\n{software_at(executable)}\n")
                return file
            time.sleep(0.05)
    except OSError as error:
        raise ServerError(f"{folder} cannot hold the data of a server ({error.strerror}): name another one") from None
    os.close(file)
    raise ServerError(f"{folder} is in use by another server: end that one, or use another folder")


def written_by(folder: Path) -> str:
    """Return the executable of the server that had its data in *folder* the last time; empty if nobody knows."""
    return _note(folder)[0]


def _note(folder: Path) -> tuple[str, str]:
    """Return what ``take`` has noted: the executable, and what it was then, such as ``Redis 8.10.2``."""
    with suppress(OSError, ValueError):
        executable, software = (folder / WRITTEN_BY).read_text().splitlines()
        return executable, software
    return "", ""


def _check_format(folder: Path, executable: str) -> None:
    """Refuse a server that cannot read what is in *folder*: it would advise to repair data that is whole."""
    software, (before, said) = software_at(executable), _note(folder)
    if not (folder / "appendonlydir").exists() or not software:
        return
    wrote = named(said)  # not what is there now: it may have been removed, or be a newer one
    if software.level < (7, 0):  # it would not look there, and begin without the orders
        raise ServerError(f"{software} cannot read the data in {folder}: a server from 7.0 on has written it")
    if wrote and not software.reads(wrote):
        way = f"set ORDERSTREAM_REDIS_SERVER={before}"
        raise ServerError(f"{software} cannot read the data in {folder}, which {wrote} has written: {way}")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for *folder*."""
    with (folder / JOINING).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def meeting_place() -> Path:
    """
    Return the folder where all commands of this user find the shared server. Nobody else can look into it.

    It lies in ``XDG_RUNTIME_DIR``, which the system empties when the user logs out; without that variable, beside the
    other temporary files.

    Raises:
        ServerError: The folder cannot be made, or somebody else has made it.
    """
    given = os.environ.get("XDG_RUNTIME_DIR")
    own = Path(tempfile.gettempdir(), f"orderstream-{os.getuid()}")
    folder = Path(given, "orderstream") if given and _is_ours(Path(given)) else own
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        about = folder.lstat()
    except OSError as error:
        way = "set XDG_RUNTIME_DIR to a folder where you may write"
        raise ServerError(f"{folder} cannot be made ({error.strerror}): {way}") from None
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise ServerError(f"{folder} is not yours alone: remove it, or set XDG_RUNTIME_DIR to a folder of yours")
    if len(os.fsencode(folder.resolve() / SOCKET)) > LONGEST_PATH:
        raise ServerError(f"{folder} is too long for the path of a socket: set XDG_RUNTIME_DIR to a shorter one")
    return folder.resolve()


def url(folder: Path) -> str:
    """Return the URL of the shared server whose meeting place *folder* is."""
    return f"unix://{quote(str(folder / SOCKET))}"


def _is_ours(folder: Path) -> bool:
    """Tell whether it is a folder of this user. After ``su`` the variable names somebody else's."""
    with suppress(OSError):
        return folder.stat().st_uid == os.getuid()
    return False

