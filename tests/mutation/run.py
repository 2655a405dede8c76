"""Apply every mutant, ask every interface that it concerns, and print what survives.

python tests/mutation/run.py [--density N] [--share N/M] [--json FILE]
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from mutation.interfaces import INTERFACES, answer, files_below, quick
from mutation.mutants import Files, Mutant, mutants, steps
from mutation.scene import Scene


@dataclass
class Table:
    """Mutants, survivors and faults, by interface."""

    distinct: int = 0
    asked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(INTERFACES, 0))
    survivors: list[tuple[str, str]] = field(default_factory=list)
    faults: list[tuple[str, str, str]] = field(default_factory=list)

    def __iadd__(self, other: "Table") -> "Table":
        self.distinct += other.distinct
        for name, count in other.asked.items():
            self.asked[name] += count
        self.survivors += other.survivors
        self.faults += other.faults
        return self

    def text(self) -> str:
        lines = [f"{'interface':30}{'mutants':>9}{'killed':>9}{'survivors':>11}"]
        for name, count in self.asked.items():
            alive = len({mutant for interface, mutant in self.survivors if interface == name})
            alive += len({mutant for interface, mutant, _ in self.faults if interface == name})
            lines.append(f"{name:30}{count:>9,}{count - alive:>9,}{alive:>11,}")
        total, alive = sum(self.asked.values()), len(self.survivors) + len(self.faults)
        lines.append(f"{'together':30}{total:>9,}{total - alive:>9,}{alive:>11,}")
        lines.append(f"{self.distinct:,} distinct mutants")
        lines += [f"SURVIVES in {interface}: {mutant}" for interface, mutant in sorted(self.survivors)]
        lines += [f"FAULT in {interface}: {mutant}: {text}" for interface, mutant, text in sorted(self.faults)]
        return "\n".join(lines)


def check_honest(scene: Scene) -> None:
    """Raise AssertionError unless every interface passes the honest workspace, and leave it as it was."""
    before = files_below(scene.registry)
    for interface in INTERFACES:
        said = answer(interface, scene)
        assert said.passed, f"{interface} does not pass the honest workspace: {said}"
        for path in files_below(scene.registry) - before:
            path.unlink()


def apply(scene: Scene, files: Files, chosen: Iterable[Mutant]) -> Table:
    """Ask each interface about each mutant that it must not pass, restoring the files after each."""
    table, before = Table(), files_below(scene.registry)
    for mutant in chosen:
        asked = [interface for interface in INTERFACES if files.counts(mutant, interface)]
        if not asked:
            continue
        table.distinct += 1
        change(mutant.files)
        for interface in asked:
            table.asked[interface] += 1
            said = answer(interface, scene)
            if said.passed:
                table.survivors.append((interface, mutant.name))
            elif said.fault:
                table.faults.append((interface, mutant.name, said.fault.strip()))
            if interface in ("publish", "promote"):
                for path in files_below(scene.registry) - before:
                    path.unlink()
                change(mutant.files)  # publishing writes again what a registry lacks
        change({path: files.honest[path] for path in mutant.files})
    return table


def change(files: Mapping[Path, bytes | None]) -> None:
    """Write files, and delete those without a content."""
    for path, content in files.items():
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)


def part(number: int, of: int, density: int) -> Table:
    """Apply every `of`-th mutant in a separate scene."""
    os.environ["FAIR_DISTILL_CACHE"] = tempfile.mkdtemp()
    with tempfile.TemporaryDirectory() as folder, quick():
        scene = Scene(Path(folder))
        files = Files(scene)
        check_honest(scene)
        table = Table()
        for generate in (mutants(scene, files, density=density), steps(scene, files)):
            table += apply(scene, files, islice(generate, number, None, of))
        return table


def main() -> int:
    """Run all mutants in several processes and print the table; 1 if one survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--density", type=int, default=60, help="places of a large file that are altered")
    parser.add_argument("--every", type=int, default=1, help="apply only one mutant in so many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--least", type=int, default=0, help="fail with fewer distinct mutants than this")
    parser.add_argument("--json", type=Path, help="write survivors and faults")
    arguments = parser.parse_args()
    began = time.perf_counter()
    total, of = Table(), arguments.jobs * arguments.every
    with ProcessPoolExecutor(arguments.jobs) as pool:
        jobs = [pool.submit(part, number, of, arguments.density) for number in range(arguments.jobs)]
        for job in jobs:
            total += job.result()
    print(total.text())
    print(f"{time.perf_counter() - began:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps({"survivors": total.survivors, "faults": total.faults}, indent=1))
    return int(bool(total.survivors or total.faults) or total.distinct < arguments.least)


if __name__ == "__main__":
    sys.exit(main())
