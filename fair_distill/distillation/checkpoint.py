"""Checkpoints of the optimisation loop: atomic, limited in number, without pickle, and bound to one run.

A checkpoint is stored at FOLDER/KEY/STEP-DIGEST.safetensors. KEY is the digest of the configuration, the data and
`engine`, so a run with another configuration never reads it. DIGEST is the digest of the content: continuing from a
damaged state would silently give another set. Checkpoints are not DVC outputs, because DVC would delete them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fair_distill.distillation.optimiser_state import StateDict
from fair_distill.errors import ConfigError, FairDistillError, IntegrityError
from fair_distill.files import sha256
from fair_distill.storage.schemes import open_store
from fair_distill.storage.store import Store

_KEEP = 2
_SUFFIX = ".safetensors"


class Interrupted(FairDistillError):
    """The run was asked to stop (SIGTERM), and its state is saved."""

    exit_code = 143


@dataclass(frozen=True)
class CheckpointFolder:
    """Saves the loop's state at regular steps and keeps the two newest states.

    Parameters
    ----------
    folder : a path or s3://bucket/prefix. A missing folder is created; a missing bucket is not
    key : the hexadecimal digest of everything that determines the run
    every : steps between checkpoints
    stopping : called after every step; if it returns true, the state is saved and the run ends with `Interrupted`
    notice : receives a sentence when the run resumes from a checkpoint
    """

    folder: Path | str
    key: str
    every: int
    stopping: Callable[[], bool] = lambda: False
    notice: Callable[[str], object] = lambda sentence: None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"--checkpoint-every is {self.every}; give 1 or more steps")

    @cached_property
    def _store(self) -> Store:
        return open_store(str(self.folder), source="--checkpoints")

    def _saved(self) -> list[str]:
        return [key for key in self._store.list(f"{self.key}/") if key.endswith(_SUFFIX)]

    def latest(self) -> StateDict | None:
        """Return the newest state, or None without a checkpoint.

        Raises
        ------
        IntegrityError
            If the newest checkpoint is damaged or belongs to another run. An older one is not used instead, because
            that would hide the damage.
        """
        from safetensors.torch import load

        saved = self._saved()
        if not saved:
            return None
        content, address = self._store.read(saved[-1]), self._store.address(saved[-1])
        if sha256(content) != saved[-1].removesuffix(_SUFFIX).rpartition("-")[2]:
            raise IntegrityError(
                f"{address} is damaged or is not a checkpoint; remove it to continue from the previous checkpoint"
            )
        if _metadata(content).get("key") != self.key:
            raise IntegrityError(f"{address} is a checkpoint of another configuration or other data; remove it")
        step = int(saved[-1].rpartition("/")[2].partition("-")[0])
        self.notice(f"resuming after step {step:,} from the checkpoint {address}")
        return load(content)

    def save_if_due(self, step: int, state: Callable[[], StateDict]) -> None:
        """Save the state if `step` is a multiple of `every` or the run has to stop.

        Raises
        ------
        Interrupted
            If the run has to stop.
        """
        stopping = self.stopping()
        if stopping or step % self.every == 0:
            self.save(step, state())
        if stopping:
            raise Interrupted(f"stopped after step {step}; run the same command to continue")

    def save(self, step: int, state: StateDict) -> None:
        """Save the state of a step, then delete all checkpoints but the two newest."""
        from safetensors.torch import save

        content = save({name: value.cpu().contiguous() for name, value in state.items()}, metadata={"key": self.key})
        self._store.put(f"{self.key}/{step:09d}-{sha256(content)}{_SUFFIX}", content)
        for old in self._saved()[:-_KEEP]:
            self._store.remove(old)

    def delete_all(self) -> None:
        """Delete the checkpoints of this run, which has finished."""
        self._store.clear(self.key)


def _metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file: its first eight bytes are the length of the JSON header."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return metadata
