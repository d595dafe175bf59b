"""A process that a test starts and waits for. On a busy machine the test waits longer."""

import subprocess

from orderstream.lab import patience


class Process(subprocess.Popen):
    """A ``subprocess.Popen`` whose timeouts say how long it takes on an idle machine."""

    def wait(self, timeout=None):
        return super().wait(timeout and patience.stretched(timeout))

    def communicate(self, input=None, timeout=None):
        return super().communicate(input, timeout and patience.stretched(timeout))
