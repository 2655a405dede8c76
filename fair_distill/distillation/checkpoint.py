"""Checkpoints of the loop: atomic, bounded in number, without pickle, bound to what they are checkpoints of.

A checkpoint lies at FOLDER/KEY/STEP-DIGEST.safetensors. KEY is the digest of the configuration, the data and `engine`:
another configuration looks elsewhere, and never finds this one's. DIGEST is that of the content: a state in which one
bit has changed would give another set, and nobody would know. Not a DVC output: DVC would remove it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fair_distill.distillation.optimiser_state import State
from fair_distill.errors import ConfigError, FairDistillError, IntegrityError
from fair_distill.files import sha256
from fair_distill.storage.schemes import open_store
from fair_distill.storage.store import Store

_KEPT = 2
_ENDING = ".safetensors"


class Interrupted(FairDistillError):
    """Asked to stop (SIGTERM), with the state kept."""

    exit_code = 143


@dataclass(frozen=True)
class CheckpointFolder:
    """Keeps the loop's state every so many steps, the last two of them.

    Parameters
    ----------
    folder : where: a path, or s3://bucket/prefix; a folder is made if it is not there, a bucket is not
    key : hexadecimal digest of all that makes the run what it is
    every : steps between checkpoints
    stopping : asked after every step; when it says yes the state is kept and the run ends with `Interrupted`
    """

    folder: Path | str
    key: str
    every: int
    stopping: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"--checkpoint-every is {self.every}; at least 1 step is needed")

    @cached_property
    def _store(self) -> Store:
        return open_store(str(self.folder), source="--checkpoints")

    def _kept(self) -> list[str]:
        return [key for key in self._store.list(f"{self.key}/") if key.endswith(_ENDING)]

    def latest(self) -> State | None:
        """Return the newest state, or None.

        Raises
        ------
        IntegrityError
            If the newest is damaged or is of another run: going on from an older one would hide it.
        """
        from safetensors.torch import load

        kept = self._kept()
        if not kept:
            return None
        content, address = self._store.read(kept[-1]), self._store.address(kept[-1])
        if sha256(content) != kept[-1].removesuffix(_ENDING).rpartition("-")[2]:
            raise IntegrityError(f"{address} is damaged, or not a checkpoint; remove it to go on from the one before")
        if _metadata(content).get("key") != self.key:
            raise IntegrityError(f"{address} is a checkpoint of another configuration or other data; remove it")
        return load(content)

    def offer(self, step: int, state: Callable[[], State]) -> None:
        """Keep the state if `step` is a multiple of `every`, or the run is to stop; let go of all but the last two."""
        stopping = self.stopping()
        if stopping or step % self.every == 0:
            self.keep(step, state())
        if stopping:
            raise Interrupted(f"stopped after step {step}; the same command goes on from there")

    def keep(self, step: int, state: State) -> None:
        """Keep the state of a step now."""
        from safetensors.torch import save

        content = save({name: value.cpu().contiguous() for name, value in state.items()}, metadata={"key": self.key})
        self._store.put(f"{self.key}/{step:09d}-{sha256(content)}{_ENDING}", content)
        for old in self._kept()[:-_KEPT]:
            self._store.remove(old)

    def done(self) -> None:
        """The run has ended well; its checkpoints are not needed."""
        self._store.clear(self.key)


def _metadata(content: bytes) -> dict[str, str]:
    """The words in a safetensors file: eight bytes that say how long the JSON is that follows them."""
    length = int.from_bytes(content[:8], "little")
    words: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return words
