"""The file that measurements are added to as they come: JSON, whole at every moment, taken up where it ends."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fair_distill.errors import ConfigError, DataError
from fair_distill.files import parse_json, to_json, write_bytes


@dataclass(frozen=True)
class Record:
    """What was measured so far, and under which settings.

    Attributes
    ----------
    about : settings that all results share
    methods : for each method with results, its settings
    runs : when and on what machine; a result names its run by number
    """

    path: Path
    about: dict[str, Any]
    methods: dict[str, Any]
    runs: tuple[dict[str, Any], ...] = ()
    results: tuple[dict[str, Any], ...] = ()

    @property
    def done(self) -> set[tuple[str, str, int]]:
        return {(result["benchmark"], result["method"], result["seed"]) for result in self.results}

    def begun(self, run: Mapping[str, Any]) -> "Record":
        """Return the record with one more run, written."""
        return _written(replace(self, runs=(*self.runs, dict(run))))

    def added(self, result: Mapping[str, Any]) -> "Record":
        """Return the record with one more result, of the last run, written."""
        return _written(replace(self, results=(*self.results, dict(result) | {"run": len(self.runs) - 1})))


def open_record(path: Path, about: Mapping[str, Any], methods: Mapping[str, Any]) -> Record:
    """Return what the file holds, or an empty record where there is none.

    Raises
    ------
    ConfigError
        If it holds results of other settings: two budgets do not mix in one table.
    DataError
        If it is no file of results.
    """
    # As they will be read back, so that a tuple and a list are the same.
    wanted = parse_json(to_json({"about": about, "methods": methods}), name="the settings")
    if not path.exists():
        return Record(path, wanted["about"], wanted["methods"])
    found = read_record(path)
    _same(path, "", found.about, wanted["about"])
    for name, settings in found.methods.items():
        if name in wanted["methods"]:
            _same(path, f"{name}: ", settings, wanted["methods"][name])
    return replace(found, methods=found.methods | wanted["methods"])


def read_record(path: Path) -> Record:
    """Read a file of results. Raises DataError where it is none."""
    try:
        value = parse_json(path.read_bytes(), name=str(path))
        return Record(path, value["about"], value["methods"], tuple(value["runs"]), tuple(value["results"]))
    except (OSError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no file of results ({error!r}); name another with --out") from None


def _same(path: Path, what: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key in sorted(found.keys() | wanted.keys()):
        if found.get(key) != wanted.get(key):
            raise ConfigError(
                f"{path} holds results of other settings: {what}{key} is {found.get(key)} there and {wanted.get(key)} "
                "here; name another file with --out"
            )


def _written(record: Record) -> Record:
    value = {"about": record.about, "methods": record.methods, "runs": record.runs, "results": record.results}
    write_bytes(record.path, to_json(value))
    return record
