"""How a stage tells how far it is: a function that the command line gives it."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]


def quiet(done: int, of: int, note: str) -> None:
    """Report progress to nobody."""
