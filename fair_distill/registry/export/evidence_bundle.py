"""Pack everything that a registry has of one version into one ZIP archive, for an auditor, a regulator or another site.

The folder `registry` in the archive is a registry with that version and the whole ledger, so `verify` and `load` check
it without the original registry. The archive also has the dataset card, Croissant metadata and `SHA256SUMS`, which
needs only coreutils. The same registry gives the same bytes, so the digest of an archive identifies it.
"""

import io
import zipfile
from collections.abc import Sequence
from datetime import date

from fair_distill.errors import IntegrityError
from fair_distill.files import sha256, to_json
from fair_distill.registry.client import look_up
from fair_distill.registry.export.croissant import croissant
from fair_distill.registry.export.dataset_card import dataset_card
from fair_distill.registry.store import locate, open_registry
from fair_distill.registry.verify import verify

_FOLDER = "registry"


def evidence(
    reference: str, *, registry: str | None = None, trust: Sequence[str] | None = None, today: date | None = None
) -> bytes:
    """Return a ZIP archive with all evidence of a version, after verifying it.

    A revoked version can be packed too; the ledger in the archive shows the revocation. Parameters and errors are those
    of `look_up`.
    """
    version = look_up(reference, registry=registry, trust=trust, today=today, revoked=True)
    name = reference.partition("@")[0]
    checked = verify(f"{name}@sha256:{version.version}", registry=registry, trust=trust, revoked=True)
    store = open_registry(locate(registry))
    files = {}
    for file in checked:
        if not file.sha256:  # a file among the statements that cannot be read and is ignored
            continue
        content = files[f"{_FOLDER}/{file.key}"] = store.read(file.key)
        if sha256(content) != file.sha256:
            raise IntegrityError(f"{file.key} changed while it was packed; the contents of a registry must not change")
    files["CARD.md"] = dataset_card(version).encode()
    files["croissant.json"] = to_json(croissant(version, base=_FOLDER))
    files["README.md"] = _readme(name, version.number, version.head.digest).encode()
    files["SHA256SUMS"] = "".join(f"{sha256(files[path])}  {path}\n" for path in sorted(files)).encode()
    return _zip(files)


def _readme(name: str, number: int, head: str) -> str:
    return f"""# {name}@v{number}: evidence

`SHA256SUMS` lists every file with its SHA-256. Run `sha256sum --check SHA256SUMS` to check them.

- `CARD.md`: what the set is, its accuracy for each group, its limits, and what was not tested. The numbers are those of
  the verdict, which was computed from the predictions in this archive.
- `croissant.json`: the same information for catalogues and Croissant readers.
- `{_FOLDER}/`: a registry with this version and the ledger of all versions up to the entry `{head}`. Run
  `fair-distill registry verify {name}@v{number} --registry {_FOLDER}` to check it again. In Python,
  `fair_distill.load("{name}@v{number}", registry="{_FOLDER}")` loads the set.
"""


def _zip(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            # The member has no time and no owner, so the bytes of the archive depend only on the files.
            member = zipfile.ZipInfo(path)
            member.external_attr = 0o644 << 16
            archive.writestr(member, files[path], zipfile.ZIP_DEFLATED)
    return sink.getvalue()
