"""Files of a DVC remote, fetched by digest without DVC.

DVC can run programs that its configuration names, for example a `credential_process`. This client runs nothing: it
knows folders and S3, and it takes credentials from the environment only. A content is accepted if it has the digest
that was asked for.
"""

import configparser
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from fair_distill.errors import ConfigError, DataError, IntegrityError, MeasurementError
from fair_distill.files import atomic_file
from fair_distill.storage.s3 import NotThere, open_bucket_read_only

_REMOTE = re.compile(r"""'?remote "([^"]+)"'?""")
_CHUNK = 2**20


class Source(Protocol):
    """A place with contents by key. What goes wrong is a ConfigError of one line; NotThere if there is no such key."""

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield a content in chunks of about 1 MiB."""

    def address(self, key: str) -> str:
        """Return what to call a key in a message."""


@dataclass(frozen=True)
class _FolderSource:
    root: Path

    def stream(self, key: str) -> Iterator[bytes]:
        try:
            with (self.root / key).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        except FileNotFoundError:
            raise NotThere(f"{self.address(key)} does not exist") from None
        except OSError as error:
            raise ConfigError(f"cannot read {self.address(key)}: {error.strerror}") from None

    def address(self, key: str) -> str:
        return str(self.root / key)


@dataclass(frozen=True)
class DvcRemote:
    """Contents under the MD5 by which dvc.lock names them.

    Attributes
    ----------
    name : what messages call the remote
    """

    name: str
    source: Source

    def fetch(self, md5: str, path: Path, *, file: str, limit: int, size: int | None = None) -> None:
        """Write the content of this MD5 to `path`.

        Parameters
        ----------
        md5 : 32 hexadecimal digits, for the listing of a folder followed by ".dir"
        file : what the content is, for messages
        limit : the largest size in bytes that is read
        size : the exact size in bytes, if it is known

        Raises
        ------
        MeasurementError
            If the remote does not have the content.
        DataError
            If the content is larger than `limit`.
        IntegrityError
            If the content has another size or another MD5.
        """
        if size is not None and size > limit:
            raise DataError(f"{file} has {size:,} bytes according to dvc.lock; at most {limit:,} are read")
        digest, count = hashlib.md5(usedforsecurity=False), 0
        with atomic_file(path) as aside, aside.open("wb") as sink:
            try:
                for chunk in self.source.stream(f"files/md5/{md5[:2]}/{md5[2:]}"):
                    count += len(chunk)
                    if size is not None and count > size:
                        raise IntegrityError(
                            f"{file} is larger in remote {self.name!r} than the {size:,} bytes of dvc.lock"
                        )
                    if count > limit:
                        raise DataError(
                            f"{file} has more than {limit:,} bytes in remote {self.name!r}, which is the limit"
                        )
                    digest.update(chunk)
                    sink.write(chunk)
            except NotThere:
                raise MeasurementError(
                    f"{file} (MD5 {md5}) is not in the DVC remote {self.name!r}; run `dvc push` on the branch"
                ) from None
            if digest.hexdigest() != md5.removesuffix(".dir") or (size is not None and count != size):
                raise IntegrityError(
                    f"{file}: remote {self.name!r} has {count:,} bytes with MD5 {digest.hexdigest()} "
                    f"where dvc.lock names {md5}{'' if size is None else f' with {size:,} bytes'}"
                )


def open_remote(workspace: Path, remote: str | None) -> DvcRemote:
    """Return a DVC remote that the workspace's .dvc/config names, or the one at an address.

    Only url, endpointurl and region are read. A profile, a path to another configuration or a program for credentials
    has no effect here, and neither has .dvc/config.local.

    Parameters
    ----------
    remote : the name of a remote in .dvc/config, a folder with a "/" in its path, or an address with "://"; None is
        the default remote

    Raises
    ------
    ConfigError
        If there is no such remote, or it is neither a folder nor S3.
    """
    config = workspace / ".dvc" / "config"
    if remote is not None and "/" in remote:
        return DvcRemote(remote, _source(remote, workspace, {}, said_by="--remote"))
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read_string(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise ConfigError(
            f"{config} is not readable: {' '.join(str(error).split())}; restore it or pass --remote URL"
        ) from None
    remotes = {match[1]: settings[section] for section in settings if (match := _REMOTE.fullmatch(section))}
    name = remote or settings.get("core", "remote", fallback=None)
    if name is None:
        raise ConfigError(f"{config} has no default remote; run `dvc remote default NAME` or pass --remote")
    if name not in remotes:
        known = ", ".join(sorted(remotes)) or "none"
        raise ConfigError(f"{config} has no remote {name!r}; it defines {known}. Pass one of these, or add it there")
    options = dict(remotes[name])
    for key in ("version_aware", "worktree"):
        if options.get(key, "false").lower() != "false":
            raise ConfigError(f"{config}: remote {name!r} has {key}, which has another layout; use a remote without it")
    if not options.get("url"):
        raise ConfigError(f"{config}: remote {name!r} has no url; run `dvc remote modify {name} url URL`")
    return DvcRemote(name, _source(options["url"], config.parent, options, said_by=f"remote {name!r} in {config}"))


def _source(url: str, beside: Path, options: dict[str, str], *, said_by: str) -> Source:
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return open_bucket_read_only(
            url, endpoint=options.get("endpointurl"), region=options.get("region"), said_by=said_by
        )
    if "://" in url and not (parts.scheme == "file" and parts.netloc in ("", "localhost")):
        raise ConfigError(f"{said_by} has a url with {parts.scheme!r}; the gate reads folders and s3://bucket/prefix")
    folder = beside / (unquote(parts.path) if "://" in url else url)
    if not folder.is_dir():
        raise ConfigError(
            f"{said_by} is the folder {folder}, which does not exist here; use a remote that this job reaches"
        )
    return _FolderSource(folder)
