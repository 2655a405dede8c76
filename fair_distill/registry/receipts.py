"""Receipts: a consumer states which version it loaded, if it wants to be informed of a revocation.

`load` writes a receipt only if the consumer asks for it, to a location that the consumer chooses and may write to. A
receipt has no personal data: it names no person, machine or folder, only the name that the consumer passes, for example
of its job. It is written once for each consumer, version and day, under <dataset>/<version>/<sha256>.json.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date

from fair_distill.errors import ConfigError, FairDistillError, IntegrityError
from fair_distill.files import is_sha256, parse_json, sha256, to_json
from fair_distill.registry.entry import check_name, is_name
from fair_distill.registry.layout import key_fault
from fair_distill.storage.schemes import open_store
from fair_distill.storage.store import Options

RECEIPTS_VARIABLE = "FAIR_DISTILL_RECEIPTS"
CONSUMER_VARIABLE = "FAIR_DISTILL_CONSUMER"
_FORMAT = 1
_MAX_BYTES, _LONGEST_NAME = 4096, 200


@dataclass(frozen=True)
class Receipt:
    """A consumer loaded a version.

    Attributes
    ----------
    consumer : the name that the consumer chose, such as fraud-model/nightly
    dataset, version : the dataset, and the SHA-256 of the manifest
    reference : the reference that was loaded, such as digits@production
    day : the day in UTC, as in 2026-03-03
    """

    consumer: str
    dataset: str
    version: str
    reference: str
    day: str

    def to_json(self) -> bytes:
        """Return the bytes of the file of the receipt."""
        return to_json({"format": _FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "Receipt":
        """Read a receipt. Raises IntegrityError unless writing it again gives the same bytes."""
        value = parse_json(content, name=name, error=IntegrityError)
        value.pop("format", None)
        try:
            receipt = cls(**value)
            date.fromisoformat(receipt.day)
            texts = (receipt.consumer, receipt.reference)
            valid = is_name(receipt.dataset) and is_sha256(receipt.version) and all(isinstance(t, str) for t in texts)
            if not valid or receipt.to_json() != content:
                raise ValueError
        except (TypeError, ValueError):
            raise IntegrityError(f"{name} is not a receipt of format {_FORMAT}; remove it by hand") from None
        return receipt


def receipt_settings(location: str | None, consumer: str | None) -> tuple[str, str] | None:
    """Return the location of receipts and the name of the consumer, from arguments or the environment.

    Returns None if no location is set: no receipt is written. Raises ConfigError for a location without a valid name.
    """
    location = location or os.environ.get(RECEIPTS_VARIABLE)
    if not location:
        return None
    name = consumer or os.environ.get(CONSUMER_VARIABLE, "")
    if key_fault(name) or len(name) > _LONGEST_NAME:
        raise ConfigError(
            f"a receipt needs the name of the consumer, and it is {name[:80]!r}; set {CONSUMER_VARIABLE} or consumer= "
            "to a name without personal data, such as fraud-model/nightly: letters, digits, '.', '_', '-' and '/'"
        )
    return location, name


def write_receipt(location: str, receipt: Receipt) -> bool:
    """Write a receipt and return whether it is new. Raises ConfigError or Unanswered if it cannot be written."""
    content = receipt.to_json()
    store = open_store(location, source=f"receipts= or {RECEIPTS_VARIABLE}", options=Options(follow_links=False))
    return store.create(f"{receipt.dataset}/{receipt.version}/{sha256(content)}.json", content)


def read_receipts(location: str, dataset: str, version: str) -> Iterator[Receipt | FairDistillError]:
    """Yield each receipt for a version, or the error of a file that cannot be read or is no receipt for it."""
    store = open_store(location, source=f"--receipts or {RECEIPTS_VARIABLE}", options=Options(follow_links=False))
    for key in store.list(f"{check_name(dataset)}/{version}/"):
        try:
            receipt = Receipt.from_json(store.read(key, size_limit=_MAX_BYTES), name=store.address(key))
        except FairDistillError as error:
            yield error
            continue
        if (receipt.dataset, receipt.version) == (dataset, version):
            yield receipt
        else:
            yield IntegrityError(f"{store.address(key)} is a receipt for another version; remove it by hand")
