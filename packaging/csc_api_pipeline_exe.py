"""The exe ``csc_api_pipeline`` starts here."""

import sys

from api_pipeline.__main__ import main

sys.exit(main())
