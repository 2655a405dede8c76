"""The folder `objects/` of a registry is a DVC remote: `dvc pull -r published` and `load` read the same bytes.

DVC names a file by its MD5, and a folder by the MD5 of its listing. The manifest records the MD5 of each file, which
determines its key, and its SHA-256, which is trusted.
"""

import json
from collections.abc import Sequence

from fair_distill.files import md5
from fair_distill.registry.layout import object_key
from fair_distill.registry.manifest import MANIFEST_FILE, PROVENANCE_FILE, Manifest


def dvc_files(manifest: Manifest, provenance: bytes) -> dict[str, bytes]:
    """Return the other files, by key, that DVC needs of the folder of a set: its small files and the listing.

    The listing has the same bytes as the one that `dvc push` writes, so dvc.lock names it.
    """
    small = {MANIFEST_FILE: manifest.to_json(), PROVENANCE_FILE: provenance}
    names = {path: md5(content) for path, content in small.items()} | {file.path: file.md5 for file in manifest.files}
    listing = json.dumps([{"md5": names[path], "relpath": path} for path in sorted(names)]).encode()
    objects = {object_key(md5(content)): content for content in small.values()}
    return objects | {f"{object_key(md5(listing))}.dir": listing}


def object_keys(manifest: Manifest, provenances: Sequence[bytes]) -> set[str]:
    """Return the keys of everything that a version has in the DVC remote."""
    keys = {object_key(file.md5) for file in manifest.files}
    return keys.union(*(dvc_files(manifest, provenance) for provenance in provenances))
