"""What entries of the record of attempts and of the record of erasures have in common: their chain and their file."""

from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import ClassVar, Self

from fair_distill.errors import IntegrityError
from fair_distill.files import parse_json, sha256, to_json

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class SealedEntry:
    """An entry of a chain for all datasets of a store, in a file with a seal.

    Attributes
    ----------
    number, prev, who, time, nonce : as in the entries of a ledger
    name : the name of the chain, as the ledger's code expects it in every entry
    record : what the chain is, for messages
    """

    name: ClassVar[str]
    record: ClassVar[str]

    number: int
    prev: str
    who: str
    time: str
    nonce: str

    def fault(self) -> str | None:
        """Return which field is not valid; None if all are. Checks types too, because files have any type."""
        raise NotImplementedError

    def to_json(self) -> bytes:
        """Return the bytes of the entry's file, with a seal: the SHA-256 of the other fields."""
        body = {"format": _FORMAT, **asdict(self)}
        return to_json({**body, "seal": sha256(to_json(body))})

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the bytes of the entry's file."""
        return sha256(self.to_json())

    @classmethod
    def from_json(cls, content: bytes, name: str) -> Self:
        """Read an entry. Raises IntegrityError unless it is valid and writing it again gives the same bytes."""
        value = parse_json(content, name=name, error=IntegrityError)
        if value.keys() - {"format", "seal"} != {field.name for field in fields(cls)}:
            raise IntegrityError(f"{name} is not an entry of format {_FORMAT} of {cls.record}")
        entry = cls(**{key: item for key, item in value.items() if key not in ("format", "seal")})
        fault = entry.fault()
        if fault:
            raise IntegrityError(f"{name} is not an entry of {cls.record}: {fault}")
        if entry.to_json() != content:
            raise IntegrityError(f"{name} is not in the form in which it was written; it was edited")
        return entry
