"""Consumers of a version, as far as they are known: pins in lock files, and receipts that `load` wrote."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fair_distill.errors import ConfigError, FairDistillError
from fair_distill.registry.pins import LOCK_FILE, read_pins
from fair_distill.registry.receipts import read_receipts


@dataclass(frozen=True)
class Consumer:
    """A consumer of a version.

    Attributes
    ----------
    kind : `pin` or `receipt`
    name : the lock file, or the name in the receipt
    reference : the reference that was pinned or loaded
    last_day : the day of the newest receipt, as in 2026-03-03; None for a pin
    """

    kind: str
    name: str
    reference: str
    last_day: str | None


@dataclass(frozen=True)
class KnownConsumers:
    """The known consumers of a version, and the errors of the lock files and receipts that could not be read."""

    consumers: tuple[Consumer, ...]
    faults: tuple[FairDistillError, ...]

    @property
    def exit_code(self) -> int:
        """The exit code of a command that lists them: 0 if everything could be read."""
        return max((fault.exit_code for fault in self.faults), default=0)


def consumers_of(dataset: str, version: str, *, locks: Sequence[Path], receipts: str | None) -> KnownConsumers:
    """Return the known consumers of a version, pins first, each sorted by name.

    A damaged file hides no other: whoever may write one receipt could otherwise hide all consumers.

    Parameters
    ----------
    locks : lock files, and folders whose lock files are read at any depth
    receipts : the location of receipts; None reads none

    Raises
    ------
    ConfigError
        If a lock file does not exist.
    FairDistillError
        If the receipts cannot be listed.
    """
    faults: list[FairDistillError] = []
    pinned = set()
    for path in _lock_files(locks):
        try:
            pins = read_pins(path)
        except FairDistillError as fault:
            faults.append(fault)
            continue
        pinned |= {
            Consumer("pin", str(path), pin.reference, None)
            for pin in pins
            if pin.version == version and pin.reference.partition("@")[0] == dataset
        }
    last_days: dict[tuple[str, str], str] = {}
    for receipt in read_receipts(receipts, dataset, version) if receipts else ():
        if isinstance(receipt, FairDistillError):
            faults.append(receipt)
            continue
        loaded = (receipt.consumer, receipt.reference)
        last_days[loaded] = max(receipt.day, last_days.get(loaded, ""))
    loaders = [Consumer("receipt", name, reference, day) for (name, reference), day in last_days.items()]
    consumers = sorted([*pinned, *loaders], key=lambda consumer: (consumer.kind, consumer.name, consumer.reference))
    return KnownConsumers(tuple(consumers), tuple(faults))


def _lock_files(locks: Sequence[Path]) -> Iterator[Path]:
    for path in locks:
        if path.is_dir():
            yield from sorted(path.rglob(LOCK_FILE))
        elif path.exists():
            yield path
        else:
            raise ConfigError(f"the lock file {path} does not exist; pass an existing file or folder with --lock")
