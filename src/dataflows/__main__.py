"""``python -m dataflows`` and the exe start here."""

import sys


def main() -> int:
    """Run the program; returns its exit code. A Ctrl-C that comes before it can be taken care of ends it quietly."""
    try:
        from dataflows.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
