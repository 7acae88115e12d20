"""The exe ``dataflows`` starts here."""

import sys

from dataflows.__main__ import main

sys.exit(main())
