"""Digests of the names of units, which show whether two splits share a person, a pair or an example. M names."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fair_distill.errors import IntegrityError
from fair_distill.files import sha256

# The first bytes of the file; the digests follow as little-endian numbers of 64 bits, in ascending order.
_MAGIC = b"fair-distill units 1\n"


@dataclass(frozen=True, eq=False)
class UnitDigests:
    """The first 64 bits of the SHA-256 of each name, which are different for practically all names.

    Two splits with a million units each have a digest in common by chance with a probability of 5 in 100 million.

    Attributes
    ----------
    digests : uint64 array (M,), ascending
    """

    digests: NDArray[np.uint64]

    @classmethod
    def of_names(cls, names: NDArray[np.uint64]) -> "UnitDigests":
        """Return the different digests in an array of any shape."""
        return cls(np.unique(names))

    def __len__(self) -> int:
        return len(self.digests)

    def shared(self, other: "UnitDigests") -> int:
        """Return the number of names that both have."""
        return len(np.intersect1d(self.digests, other.digests, assume_unique=True))

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        return _MAGIC + self.digests.astype("<u8").tobytes()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file."""
        return sha256(self.to_bytes())

    @classmethod
    def from_bytes(cls, content: bytes, *, name: str) -> "UnitDigests":
        """Read the file. Raises IntegrityError, with `name`, unless writing it again gives the same bytes."""
        valid = content.startswith(_MAGIC) and (len(content) - len(_MAGIC)) % 8 == 0
        digests = np.frombuffer(content, "<u8", offset=len(_MAGIC)) if valid else np.empty(0, np.uint64)
        if not valid or not (digests[1:] > digests[:-1]).all():
            raise IntegrityError(f"{name} is not a file of unit digests; restore it, or make the set again")
        return cls(digests.astype(np.uint64))
