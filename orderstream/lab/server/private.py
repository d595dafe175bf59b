"""The private redis-server of a lesson: it listens on a free port, keeps nothing, and ends with the notebook."""

from orderstream.embedded import private
from orderstream.lab.server.client import open_client


class PrivateServer(private.PrivateServer):
    """
    A redis-server that only this notebook uses, and that ends with it.

    Raises:
        ServerError: No redis-server was found, or it does not start.

    Attributes:
        client: A redis-py client of it, with readable replies.
    """

    def __init__(self) -> None:
        super().__init__()
        self.client = open_client(self.url)

    def fresh(self, *keys: str) -> None:
        self.client.delete(*keys)

    def close(self) -> None:
        self.client.close()
        super().close()
