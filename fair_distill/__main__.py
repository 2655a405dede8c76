"""What `fair-distill` and `python -m fair_distill` run."""

import gc
import sys

from fair_distill.cli import main


def run() -> int:
    """Run the command line, and end without a last look for garbage among all that torch has loaded: a second."""
    code = main()
    gc.freeze()
    return code


if __name__ == "__main__":
    sys.exit(run())
