"""The entry point of `fair-distill` and of `python -m fair_distill`."""

import gc
import sys

from fair_distill.cli import main


def run() -> int:
    """Run the command line and return its exit code.

    At exit, Python collects garbage among all objects of torch, which takes a second. `gc.freeze` prevents that.
    """
    code = main()
    gc.freeze()
    return code


if __name__ == "__main__":
    sys.exit(run())
