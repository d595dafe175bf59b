"""``orderstream`` as it is, but for one thing: it is told to end when the soak's process is gone."""

import os
import signal

from orderstream.cli.main import main
from orderstream.embedded.lifeline import lifeline

if __name__ == "__main__":
    lifeline(lambda: os.kill(os.getpid(), signal.SIGTERM))
    main()
