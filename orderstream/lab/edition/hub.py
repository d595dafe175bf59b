"""
The server of one learner on a JupyterHub: it makes the learner's edition in ``~/learn``, then becomes
``jupyterhub-singleuser``.

    c.Spawner.cmd = ["/opt/course/bin/python", "-m", "orderstream.lab.edition.hub"]

These words stand in the hub's configuration; the Python is the one that has the course and JupyterHub.
"""

import os
import sys
from pathlib import Path

from orderstream.lab.edition import jupyterlab
from orderstream.lab.edition.learner import LearnersEdition


def main() -> None:
    """Make the learner's edition, then become the server that the hub asked for."""
    folder = Path.home() / "learn"
    for line in LearnersEdition(folder).update():
        print(line, flush=True)
    server = Path(sys.executable).parent / "jupyterhub-singleuser"
    os.execve(server, [str(server), *sys.argv[1:]], jupyterlab.environ(folder))


if __name__ == "__main__":
    main()
