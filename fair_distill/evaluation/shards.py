"""An evaluation divided into shards, so that several machines can share it, and the shards joined into one table.

A shard is a unit that is trained together anyway: one network, or on a GPU all seeds of an architecture. The joined
table therefore has the same bytes as the table of an evaluation without shards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import sha256
from fair_distill.gate.predictions import Predictions
from fair_distill.storage.store import Store

_SUFFIX = ".parquet"


@dataclass(frozen=True)
class Shard:
    """The networks of one architecture with these seeds."""

    network: str
    seeds: tuple[int, ...]

    def __str__(self) -> str:
        first, last = self.seeds[0] + 1, self.seeds[-1] + 1
        return f"{self.network} {first}" if first == last else f"{self.network} {first} to {last}"


def list_shards(networks: Sequence[str], seeds: int, *, together: bool) -> list[Shard]:
    """Return all shards of an evaluation, in the order of their rows in the joined table.

    Parameters
    ----------
    together : whether all seeds of an architecture are trained as one, as on a GPU
    """
    groups = [tuple(range(seeds))] if together else [(seed,) for seed in range(seeds)]
    return [Shard(network, group) for network in networks for group in groups]


def join_shards(tables: Mapping[Shard, Predictions]) -> Predictions:
    """Return one table with the rows of all shards, in the given order.

    Parameters
    ----------
    tables : the predictions of each shard, in which the network and the first seed have the index 0
    """
    networks = list(dict.fromkeys(shard.network for shard in tables))
    renumbered = [
        table.columns
        | {
            "network": np.full(len(table), networks.index(shard.network)),
            "seed": table.columns["seed"].astype(np.int64) + shard.seeds[0],
        }
        for shard, table in tables.items()
    ]
    columns = {name: np.concatenate([table[name] for table in renumbered]) for name in renumbered[0]}
    options = {network: values for table in tables.values() for network, values in table.options.items()}
    return replace(next(iter(tables.values())), networks=tuple(networks), columns=columns, options=options)


@dataclass(frozen=True)
class ShardStore:
    """Predictions of finished shards, at KEY/NUMBER-DIGEST.parquet, until the evaluation is complete.

    Parameters
    ----------
    store : storage that all machines reach. As with checkpoints, everyone who can write to it can forge predictions
    key : digest of everything that predictions depend on
    shards : all shards, in order
    """

    store: Store
    key: str
    shards: Sequence[Shard]

    def save(self, shard: Shard, predictions: Predictions) -> None:
        """Store the predictions of a shard."""
        content = predictions.to_parquet()
        self.store.put(f"{self.key}/{self._number(shard):04d}-{sha256(content)}{_SUFFIX}", content)

    def has(self, shard: Shard) -> bool:
        """Return whether the predictions of a shard are stored."""
        return self._number(shard) in self._stored()

    def join(self) -> Predictions | None:
        """Return the joined table, or None unless all shards are stored."""
        stored = self._stored()
        if len(stored) < len(self.shards):
            return None
        return join_shards({shard: self._read(stored[number]) for number, shard in enumerate(self.shards)})

    def clear(self) -> None:
        """Delete all stored shards of this evaluation."""
        self.store.clear(self.key)

    def _number(self, shard: Shard) -> int:
        if shard not in self.shards:
            raise ConfigError(
                f"the shard {str(shard)!r} does not exist on this kind of device; set FAIR_DISTILL_DEVICE to the same "
                "kind, CPU or GPU, where the run starts and on all its workers"
            )
        return self.shards.index(shard)

    def _stored(self) -> dict[int, str]:
        keys = [key for key in self.store.list(f"{self.key}/") if key.endswith(_SUFFIX)]
        return {int(key.rpartition("/")[2].partition("-")[0]): key for key in keys}

    def _read(self, key: str) -> Predictions:
        content = self.store.read(key)
        if sha256(content) != key.removesuffix(_SUFFIX).rpartition("-")[2]:
            raise IntegrityError(f"{self.store.address(key)} is damaged; remove it and evaluate again")
        return Predictions.from_parquet(content, name=self.store.address(key))
