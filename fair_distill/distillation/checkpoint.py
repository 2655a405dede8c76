"""Checkpoints of the loop: atomic, bounded in number, without pickle, bound to what they are checkpoints of.

A checkpoint lies at FOLDER/KEY/STEP.safetensors, where KEY is the digest of the configuration, the data and `engine`:
another configuration looks elsewhere, and never finds this one's. Not a DVC output: DVC would remove it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fair_distill.artifacts import written_aside
from fair_distill.distillation.loop import State
from fair_distill.errors import ConfigError, FairDistillError, IntegrityError

_KEPT = 2


class Interrupted(FairDistillError):
    """Asked to stop (SIGTERM), with the state kept."""

    exit_code = 143


@dataclass(frozen=True)
class CheckpointFolder:
    """Keeps the loop's state every so many steps, the last two of them.

    Parameters
    ----------
    folder : where; made if it is not there
    key : hexadecimal digest of all that makes the run what it is
    every : steps between checkpoints
    stopping : asked after every step; when it says yes the state is kept and the run ends with `Interrupted`
    """

    folder: Path
    key: str
    every: int
    stopping: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"--checkpoint-every is {self.every}; at least 1 step is needed")

    @property
    def _own(self) -> Path:
        return self.folder / self.key

    def _kept(self) -> list[Path]:
        return sorted(self._own.glob("*.safetensors"))

    def latest(self) -> State | None:
        """Return the newest state, or None.

        Raises
        ------
        IntegrityError
            If the newest is damaged or is of another run: going on from an older one would hide it.
        """
        from safetensors import SafetensorError, safe_open

        kept = self._kept()
        if not kept:
            return None
        try:
            with safe_open(kept[-1], framework="pt") as file:
                of = (file.metadata() or {}).get("key")
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (SafetensorError, OSError) as error:
            raise IntegrityError(
                f"{kept[-1]} is not a checkpoint ({error}); remove it to go on from the one before"
            ) from None
        if of != self.key:
            raise IntegrityError(f"{kept[-1]} is a checkpoint of another configuration or other data; remove it")
        return state

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
        with written_aside(self._own / f"{step:09d}.safetensors") as aside:
            aside.write_bytes(content)
        for old in self._kept()[:-_KEPT]:
            old.unlink(missing_ok=True)

    def done(self) -> None:
        """The run has ended well; its checkpoints are not needed."""
        for path in self._kept():
            path.unlink(missing_ok=True)
        if self._own.exists() and not any(self._own.iterdir()):
            self._own.rmdir()
