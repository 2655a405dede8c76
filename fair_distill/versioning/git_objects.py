"""Files of a commit, read from git's object store without a checkout.

A checkout runs filters, hooks and text conversions, and it creates symbolic links. Reading objects does none of
this, so the commit of a stranger can be read safely. Only plain files are returned.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fair_distill.errors import ConfigError, DataError, IntegrityError

_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_MODES = {"120000": "a symbolic link", "160000": "a submodule", "040000": "a folder"}
# No object is replaced or downloaded on demand, no configuration outside the repository is read, no path is a pattern.
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


@dataclass(frozen=True)
class Commit:
    """A commit whose objects are in a repository.

    Attributes
    ----------
    folder : any folder of the repository; the commit does not have to be checked out there
    digest : the full object name in hexadecimal
    """

    folder: Path
    digest: str

    @classmethod
    def open(cls, folder: Path, digest: str) -> "Commit":
        """Return the commit of this object name.

        Raises
        ------
        ConfigError
            If the name is not a full one, or the repository does not have the commit.
        """
        if not _COMMIT.fullmatch(digest):
            raise ConfigError(f"--head is {digest!r}; pass the full commit, 40 or 64 hexadecimal digits")
        if _git(folder, "cat-file", "-t", digest, fault=_missing(folder, digest)).decode().strip() != "commit":
            raise ConfigError(f"--head is {digest}, which is not a commit; pass the pull request's newest commit")
        return cls(folder, digest)

    def read(self, path: str, *, limit: int) -> bytes | None:
        """Return the content of a plain file, or None if the commit has no file of this name.

        Parameters
        ----------
        path : names from the repository's top folder, separated by "/"
        limit : the largest size in bytes that is read

        Raises
        ------
        IntegrityError
            If the file, or a folder above it, is a symbolic link or a submodule.
        DataError
            If the file is larger than `limit`.
        """
        blob = self.blob(path)
        if blob is None:
            return None
        size = int(_git(self.folder, "cat-file", "-s", blob, fault=f"cannot read {path} of {self.digest}"))
        if size > limit:
            raise DataError(
                f"{path} of the pull request has {size:,} bytes; at most {limit:,} are read. Make it smaller"
            )
        content = _git(self.folder, "cat-file", "blob", blob, fault=f"cannot read {path} of {self.digest}")
        if len(content) != size:
            raise IntegrityError(f"{path} of {self.digest} has {len(content)} bytes; git lists {size}")
        return content

    def blob(self, path: str) -> str | None:
        """Return the object name of a plain file, or None if it does not exist; links and submodules are refused."""
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            entry = self._entry("/".join(parts[:depth]))
            if entry is None:
                return None
            mode, kind, digest = entry
            last = depth == len(parts)
            if kind != ("blob" if last else "tree") or mode not in (("100644", "100755") if last else ("040000",)):
                raise IntegrityError(
                    f"{'/'.join(parts[:depth])} of the pull request is {_MODES.get(mode, 'a plain file')}; "
                    f"commit {'a plain file' if last else 'a folder of plain files'}"
                )
        return digest

    def identity(self, path: str) -> str | None:
        """Return mode and object name of a file or folder of any kind, to compare two commits; None if it is absent."""
        entry = self._entry(path)
        return None if entry is None else " ".join(entry)

    def _entry(self, path: str) -> tuple[str, str, str] | None:
        """Return mode, type and object name of a path."""
        listing = _git(
            self.folder, "ls-tree", "-z", "--full-tree", self.digest, "--", path, fault=f"cannot list {self.digest}"
        )
        for line in filter(None, listing.split(b"\0")):
            metadata, _, name = line.partition(b"\t")
            if name == path.encode():
                mode, kind, digest = metadata.decode().split()
                return mode, kind, digest
        return None


def checked_out(folder: Path) -> Commit:
    """Return the commit that is checked out in a folder. Raises ConfigError outside a repository."""
    fault = f"{folder} is not a git checkout with a commit; run this in a checkout of the base branch"
    return Commit(folder, _git(folder, "rev-parse", "--verify", "HEAD^{commit}", fault=fault).decode().strip())


def place_in_repository(folder: Path) -> str:
    """Return a folder's path from the top of its repository: "" for the top, else names that each end in "/"."""
    fault = f"{folder} is not a git checkout; run this in a checkout of the base branch"
    return _git(folder, "rev-parse", "--show-prefix", fault=fault).decode().removesuffix("\n")


def _missing(folder: Path, digest: str) -> str:
    return f"{folder.resolve()} does not have the commit {digest}; run `git fetch origin {digest}` there"


def _git(folder: Path, *arguments: str, fault: str) -> bytes:
    """Return what git prints. Of this process's variables, git sees PATH and HOME alone."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | _ENVIRONMENT
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, check=False, env=environment, timeout=60
        )
    except FileNotFoundError:
        raise ConfigError(f"{fault}: git is not installed") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{fault}: git did not answer within 60 seconds") from None
    if done.returncode != 0:
        reason = " ".join(done.stderr.decode(errors="replace").split())[:200]
        raise ConfigError(f"{fault} ({reason})")
    return done.stdout
