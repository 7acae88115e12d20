"""``python -m dataflows`` and the exe start here."""

import sys

from dataflows.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
