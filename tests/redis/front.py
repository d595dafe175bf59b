"""A stable address, such as a DNS name or a load balancer: new connections go where it leads by now, others stay."""

import socket
import socketserver
import threading
from contextlib import suppress


class Front(socketserver.ThreadingTCPServer):
    """
    Carries bytes between its own port and the one on 127.0.0.1 that it *leads_to*.

    Attributes:
        leads_to: The port to which new connections go.
        url: The address. It stays.
        connections: How many were accepted.
    """

    request_queue_size = 512

    def __init__(self, leads_to):
        super().__init__(("127.0.0.1", 0), _Carrier)
        self.leads_to, self.connections = leads_to, 0
        self.url = f"redis://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        """Accept nobody any more, and wait until the clients are gone."""
        self.shutdown()
        self.server_close()


class _Carrier(socketserver.BaseRequestHandler):
    def handle(self):
        self.server.connections += 1
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.server.leads_to)) as behind:
            back = threading.Thread(target=_carry, args=(behind, self.request))
            back.start()
            _carry(self.request, behind)
            back.join()


def _carry(source, target):
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
