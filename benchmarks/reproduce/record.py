"""The JSON file of results. It is valid after every measurement, and a later run continues it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fair_distill.errors import ConfigError, DataError
from fair_distill.files import parse_json, to_json, write_bytes


@dataclass(frozen=True)
class Record:
    """The results so far, with their settings.

    Attributes
    ----------
    about : the settings that all results share
    methods : the settings of each method with results
    runs : date and machine of each run; a result contains the index of its run
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
    """Return the record in a file, or an empty record if the file does not exist.

    Raises
    ------
    ConfigError
        If the file has results with other settings, which must not be in one table.
    DataError
        If the file does not contain results.
    """
    # Through JSON, because a tuple is read back as a list.
    expected = parse_json(to_json({"about": about, "methods": methods}), name="the settings")
    if not path.exists():
        return Record(path, expected["about"], expected["methods"])
    stored = read_record(path)
    _check_same(path, "", stored.about, expected["about"])
    for name, settings in stored.methods.items():
        if name in expected["methods"]:
            _check_same(path, f"{name}: ", settings, expected["methods"][name])
    return replace(stored, methods=stored.methods | expected["methods"])


def read_record(path: Path) -> Record:
    """Read a file of results. Raises DataError if it is not one."""
    try:
        value = parse_json(path.read_bytes(), name=str(path))
        return Record(path, value["about"], value["methods"], tuple(value["runs"]), tuple(value["results"]))
    except (OSError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a file of results ({error!r}); pass another file with --out") from None


def _check_same(path: Path, prefix: str, stored: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for key in sorted(stored.keys() | expected.keys()):
        if stored.get(key) != expected.get(key):
            raise ConfigError(
                f"{path} has results with other settings: {prefix}{key} is {stored.get(key)} there and "
                f"{expected.get(key)} here; pass another file with --out"
            )


def _written(record: Record) -> Record:
    value = {"about": record.about, "methods": record.methods, "runs": record.runs, "results": record.results}
    write_bytes(record.path, to_json(value))
    return record
