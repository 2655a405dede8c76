"""The cache of DVC, into which the files of a workspace may be links.

With the cache type `symlink`, DVC replaces tracked files by links to `files/md5/ab/cdef…` in its cache, which can be
outside the workspace. Only such links may lead out of a folder of images.
"""

import configparser
import re
from pathlib import Path

# The layout of DVC 3, and that of earlier versions.
_OBJECT = re.compile(r"(files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}")


def dvc_cache(root: Path) -> Path | None:
    """Return the folder of the DVC cache of the repository that contains a workspace; None without DVC.

    It is `cache.dir` of .dvc/config.local or .dvc/config, or otherwise .dvc/cache.
    """
    folder = next((folder / ".dvc" for folder in (root, *root.resolve().parents) if (folder / ".dvc").is_dir()), None)
    if folder is None:
        return None
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read([folder / "config", folder / "config.local"], encoding="utf-8")
    except (OSError, UnicodeDecodeError, configparser.Error):
        return None  # DVC reports the fault; here, no link is followed
    return (folder / settings.get("cache", "dir", fallback="cache")).resolve()


def is_cached_object(path: Path, cache: Path | None) -> bool:
    """Return whether a resolved path is a file in the layout of a DVC cache."""
    if cache is None or not path.is_relative_to(cache) or not path.is_file():
        return False
    return _OBJECT.fullmatch(path.relative_to(cache).as_posix()) is not None
