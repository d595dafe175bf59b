"""The private redis-server of a lesson: it listens on a free port, keeps nothing, and ends with the notebook."""

from orderstream.embedded import private
from orderstream.lab.server.client import open_client


class PrivateServer:
    """
    A redis-server that only this notebook uses, and that ends with it.

    Raises:
        ServerError: No redis-server was found, or it does not start.
    """

    def __init__(self) -> None:
        self._server = private.PrivateServer()
        self.url = self._server.url
        self.client = open_client(self.url)

    def __repr__(self) -> str:
        return "PrivateServer()"

    def usable(self) -> bool:
        return self._server.usable()

    def keep_log(self, kept: bool) -> None:
        """Keep a log of all writes from now on, the AOF, or none."""
        self._server.keep_log(kept)

    def restart(self) -> None:
        """Kill it with SIGKILL, and start it again at the same address: with its data, if it keeps a log."""
        self._server.restart()

    def fresh(self, *keys: str) -> None:
        self.client.delete(*keys)

    def close(self) -> None:
        self.client.close()
        self._server.close()
