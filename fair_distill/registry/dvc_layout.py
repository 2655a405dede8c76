"""`objects/` of a registry is a DVC remote: `dvc pull -r published` and `load` read the very same bytes.

DVC names a content by its MD5, and a folder by that of a listing of it. The manifest records the MD5 of each file, as
the place where it lies; what is trusted is the SHA-256 beside it.
"""

import json
from collections.abc import Sequence

from fair_distill.files import md5
from fair_distill.registry.layout import object_key
from fair_distill.registry.manifest import MANIFEST_FILE, PROVENANCE_FILE, Manifest


def beside_files(manifest: Manifest, provenance: bytes) -> dict[str, bytes]:
    """Return what else DVC asks for of the folder that a set was made in, by key: its small files, and their listing.

    The listing is spelled as `dvc push` spells it: what dvc.lock names is what lies there.
    """
    small = {MANIFEST_FILE: manifest.to_json(), PROVENANCE_FILE: provenance}
    names = {path: md5(content) for path, content in small.items()} | {file.path: file.md5 for file in manifest.files}
    listing = json.dumps([{"md5": names[path], "relpath": path} for path in sorted(names)]).encode()
    objects = {object_key(md5(content)): content for content in small.values()}
    return objects | {f"{object_key(md5(listing))}.dir": listing}


def object_keys(manifest: Manifest, provenances: Sequence[bytes]) -> set[str]:
    """Return the keys of all that lies in the remote of a version."""
    keys = {object_key(file.md5) for file in manifest.files}
    return keys.union(*(beside_files(manifest, one) for one in provenances))
