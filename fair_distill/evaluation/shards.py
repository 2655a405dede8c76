"""Evaluation in parts that several machines may do, kept where all of them reach, and joined to one table again.

A part is what is trained as one anyway: a network, or on a GPU all seeds of an architecture. So parts change no byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import sha256
from fair_distill.gate.predictions import Predictions
from fair_distill.storage.store import Store

_ENDING = ".parquet"


@dataclass(frozen=True)
class Part:
    """The networks of one architecture with these seeds."""

    network: str
    seeds: tuple[int, ...]

    def __str__(self) -> str:
        first, last = self.seeds[0] + 1, self.seeds[-1] + 1
        return f"{self.network} {first}" if first == last else f"{self.network} {first} to {last}"


def parts_of(networks: Sequence[str], seeds: int, *, together: bool) -> list[Part]:
    """Return all parts, in the order in which their rows stand in the table."""
    shares = [tuple(range(seeds))] if together else [(seed,) for seed in range(seeds)]
    return [Part(network, share) for network in networks for share in shares]


def joined(found: Mapping[Part, Predictions]) -> Predictions:
    """Return the one table that parts make, in the order in which they are given.

    Parameters
    ----------
    found : of each part the table of an evaluation by itself, in which its network and its first seed have number 0
    """
    networks = list(dict.fromkeys(part.network for part in found))
    numbered = [
        of.columns
        | {
            "network": np.full(len(of), networks.index(part.network)),
            "seed": of.columns["seed"].astype(np.int64) + part.seeds[0],
        }
        for part, of in found.items()
    ]
    columns = {name: np.concatenate([of[name] for of in numbered]) for name in numbered[0]}
    options = {name: of for table in found.values() for name, of in table.options.items()}
    return replace(next(iter(found.values())), networks=tuple(networks), columns=columns, options=options)


@dataclass(frozen=True)
class KeptParts:
    """Parts that are done, at KEY/NUMBER-DIGEST.parquet, until the whole is.

    Parameters
    ----------
    store : a place that all machines reach; who can write there can make up what networks say, as with checkpoints
    key : digest of all that decides what networks say
    parts : all there are, in their order
    """

    store: Store
    key: str
    parts: Sequence[Part]

    def keep(self, part: Part, found: Predictions) -> None:
        content = found.to_parquet()
        self.store.put(f"{self.key}/{self._number(part):04d}-{sha256(content)}{_ENDING}", content)

    def has(self, part: Part) -> bool:
        return self._number(part) in self._there()

    def joined(self) -> Predictions | None:
        """Return the whole table, or None unless all parts are there."""
        there = self._there()
        if len(there) < len(self.parts):
            return None
        return joined({part: self._read(there[number]) for number, part in enumerate(self.parts)})

    def done(self) -> None:
        """Let go of all parts."""
        self.store.clear(self.key)

    def _number(self, part: Part) -> int:
        if part not in self.parts:
            raise ConfigError(
                f"{part} was asked for, which is no part of an evaluation on this device; FAIR_DISTILL_DEVICE has to "
                "be of one kind, the CPU or a GPU, where a run starts and on all its workers"
            )
        return self.parts.index(part)

    def _there(self) -> dict[int, str]:
        found = [key for key in self.store.list(f"{self.key}/") if key.endswith(_ENDING)]
        return {int(key.rpartition("/")[2].partition("-")[0]): key for key in found}

    def _read(self, key: str) -> Predictions:
        content = self.store.read(key)
        if sha256(content) != key.removesuffix(_ENDING).rpartition("-")[2]:
            raise IntegrityError(f"{self.store.address(key)} is damaged; remove it and evaluate again")
        return Predictions.from_parquet(content, name=self.store.address(key))
