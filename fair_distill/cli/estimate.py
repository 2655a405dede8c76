"""`fair-distill estimate`: time and memory of a run before it is run. Reads the clock."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from fair_distill.cli.arguments import Arguments, Commands, add_command, add_device, add_json, open_workspace
from fair_distill.cli.progress import peak_memory_mb
from fair_distill.cli.show import print_json, say

if TYPE_CHECKING:
    from fair_distill.stages.estimate import Estimate


def add_commands(commands: Commands) -> None:
    sub = add_command(commands, "estimate", _estimate, "tell time and memory of a run here, from a few real steps")
    add_device(sub)
    add_json(sub)


def _estimate(arguments: Arguments) -> None:
    from rich.console import Console
    from rich.table import Table

    from fair_distill.stages.estimate import Meters, estimate_run

    workspace, config = open_workspace(arguments)
    meters = Meters(time.monotonic, peak_memory_mb)
    rows = list(estimate_run(workspace, config, device=arguments.device, meters=meters))
    total = sum(row.seconds for row in rows)
    if arguments.json:
        print_json({"stages": [asdict(row) for row in rows], "seconds": total})
        return
    table = Table(title=f"{config.dataset}: about {duration(total)} on {arguments.device}, one after the other")
    for title in ("stage", "set", "time", "memory", *(["on the device"] if _on_a_device(rows) else [])):
        table.add_column(title, justify="left" if title in ("stage", "set") else "right")
    for row in rows:
        shown = [duration(row.seconds), f"{row.memory_mb:,.0f} MB"]
        if _on_a_device(rows):
            shown.append("–" if row.device_memory_mb is None else f"{row.device_memory_mb:,.0f} MB")
        table.add_row(row.stage, row.set, *shown)
    Console().print(table)
    say("Not counted: DVC's own seconds, and validate, project and judge, which take a few each.")


def _on_a_device(rows: "list[Estimate]") -> bool:
    return any(row.device_memory_mb is not None for row in rows)


def duration(seconds: float) -> str:
    """Return seconds as people say them: no more precise than an estimate is."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
