"""``python -m bptt`` is ``bptt``."""

from bptt.cli.main import entry

if __name__ == "__main__":
    entry()
