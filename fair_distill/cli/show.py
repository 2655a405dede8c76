"""How numbers and progress look, whichever command shows them."""

import sys
from typing import Any

METRICS = {
    "accuracy": "accuracy",
    "worst_group_accuracy": "worst group",
    "eo_diag_max": "EODM",
    "eo_diag_mean": "EODA",
}


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


class Progress:
    """A bar on a terminal; elsewhere a line at every tenth, so logs stay short."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, done: int, of: int, note: str) -> None:
        if sys.stderr.isatty():
            self._draw(done, of, note)
        elif done == of or done % max(1, of // 10) == 0:
            print(f"{self.what}: {done:,} of {of:,}, {note}", file=sys.stderr, flush=True)

    def _draw(self, done: int, of: int, note: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        if self._bar is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} {task.fields[note]}"),
            )
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
            self._task = self._bar.add_task(self.what, total=of, note=note)
            self._bar.start()
        self._bar.update(self._task, completed=done, note=note)
        if done == of:
            self._bar.stop()
