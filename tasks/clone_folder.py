"""The temporary folder of a clone: removed at the end of its run, or by a later run if this run was killed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "fair-distill-clone-"
_LOCK = "in-use"


@contextmanager
def clone_folder() -> Iterator[Path]:
    """Create a temporary folder, and remove those of runs of this user that were killed.

    A run holds a lock on a file in its folder. The system releases the lock when the process ends, however it ends.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        # The file is locked before it gets its name, so that no other run takes the folder for an abandoned one.
        handle, temporary = tempfile.mkstemp(dir=folder)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            Path(temporary).rename(Path(folder) / _LOCK)
            yield Path(folder)
        finally:
            os.close(handle)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # another run uses the folder, is creating it, or is removing it now
            continue
