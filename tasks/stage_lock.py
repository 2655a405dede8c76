"""One run at a time computes a stage; a second run waits, and then finds the result in the shared DVC cache."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256

from fair_distill.versioning.dvc_commands import Dvc

_POLL_SECONDS = 2


@contextmanager
def stage_lock(dvc: Dvc, stage: str, *, say: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other run on this DVC cache computes the same stage with the same params.yaml and dvc.yaml.

    The system releases the lock when the process ends, however it ends. Runs that share no cache do not wait for each
    other, and neither do runs on a file system without locks.
    """
    inputs = [stage.encode(), *((dvc.workspace / name).read_bytes() for name in ("params.yaml", "dvc.yaml"))]
    key = sha256(b"\0".join(sha256(content).digest() for content in inputs)).hexdigest()
    path = dvc.cache / "locks" / key
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("wb")
    except OSError as error:
        say(f"cannot write to {path.parent} ({error.strerror}), so other runs may compute the same stage")
        yield
        return
    with handle:
        waiting = False
        while not _lock(handle.fileno(), say):
            if not waiting:
                say(f"another run computes stage {stage!r} with the same params.yaml; waiting for its result")
            waiting = True
            time.sleep(_POLL_SECONDS)
        yield


def _lock(handle: int, say: Callable[[str], None]) -> bool:
    """Return whether the lock is held now, or cannot be had on this file system."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        say(f"the DVC cache does not support locks ({error.strerror}), so other runs may compute the same stage")
    return True
