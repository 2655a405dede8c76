"""Files of a DVC remote, fetched by digest without DVC.

DVC can run programs that its configuration names, for example a `credential_process`. This client runs nothing: it
knows folders and S3, and it takes credentials from the environment only. A content is accepted if it has the digest
that was asked for.
"""

import configparser
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from fair_distill.errors import ConfigError, DataError, IntegrityError, MeasurementError
from fair_distill.files import atomic_file
from fair_distill.storage.schemes import open_store
from fair_distill.storage.store import Absent, Options, Store

_REMOTE = re.compile(r"""'?remote "([^"]+)"'?""")
# The settings of a store, and what .dvc/config calls them.
_SERVER_SETTINGS = {"endpoint": "endpointurl", "region": "region"}


@dataclass(frozen=True)
class DvcRemote:
    """Contents under the MD5 by which dvc.lock names them.

    Attributes
    ----------
    name : what messages call the remote
    """

    name: str
    store: Store

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
                for chunk in self.store.stream(f"files/md5/{md5[:2]}/{md5[2:]}"):
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
            except Absent:
                raise MeasurementError(
                    f"{file} (MD5 {md5}) is not in the DVC remote {self.name!r}; run `dvc push` on the branch"
                ) from None
            if digest.hexdigest() != md5.removesuffix(".dir") or (size is not None and count != size):
                raise IntegrityError(
                    f"{file}: remote {self.name!r} has {count:,} bytes with MD5 {digest.hexdigest()} "
                    f"where dvc.lock names {md5}{'' if size is None else f' with {size:,} bytes'}"
                )


def remote_names(workspace: Path) -> tuple[str, ...]:
    """Return the names of the DVC remotes of a workspace, also of those that only .dvc/config.local defines."""
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read([workspace / ".dvc" / name for name in ("config", "config.local")], encoding="utf-8")
    except (UnicodeDecodeError, configparser.Error) as error:
        raise ConfigError(f"{workspace / '.dvc'}: {' '.join(str(error).split())}; restore its config") from None
    return tuple(match[1] for section in settings if (match := _REMOTE.fullmatch(section)))


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
        return DvcRemote(remote, _store(remote, workspace, {}, source="--remote"))
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
    server = {key: options[option] for key, option in _SERVER_SETTINGS.items() if options.get(option)}
    return DvcRemote(name, _store(options["url"], config.parent, server, source=f"remote {name!r} in {config}"))


def _store(url: str, folder: Path, settings: dict[str, str], *, source: str) -> Store:
    """Return the store at a URL, or at a path that is relative to `folder`."""
    location = url if "://" in url else str(folder / url)
    options = Options(must_exist=True, environment_only=True, settings=settings)
    return open_store(location, source=source, options=options)
