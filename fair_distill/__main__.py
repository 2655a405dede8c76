"""`python -m fair_distill` is `fair-distill`."""

import sys

from fair_distill.cli import main

sys.exit(main())
