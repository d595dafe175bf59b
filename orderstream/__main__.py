"""``python -m orderstream`` is the command ``orderstream``."""

from orderstream.cli.main import main

if __name__ == "__main__":
    main()
