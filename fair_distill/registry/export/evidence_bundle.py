"""All that a registry has of one version, as one file to hand over: to an auditor, a regulator, another site.

The archive's folder `registry` is a registry with that one version and the whole ledger, so that every check that can
be made of a registry can be made of it, by `verify` and `load`, without the place it came from. Beside it lie the
dataset card, Croissant metadata and `SHA256SUMS`, for whoever has nothing but coreutils. The same registry gives the
same bytes: an archive is named by its own digest.
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
    """Return a ZIP archive with what is known of a version, once all of it is verified.

    A version that was revoked has its archive too; the ledger in it says so.

    Parameters are those of `look_up`, and so are the errors: nothing is packed that is not what it should be.
    """
    found = look_up(reference, registry=registry, trust=trust, today=today, revoked=True)
    name = reference.partition("@")[0]
    checked = verify(f"{name}@sha256:{found.version}", registry=registry, trust=trust, revoked=True)
    store = open_registry(locate(registry))
    files = {}
    for one in checked:
        if not one.sha256:  # a file among the statements that cannot be read, and is ignored
            continue
        content = files[f"{_FOLDER}/{one.key}"] = store.read(one.key)
        if sha256(content) != one.sha256:
            raise IntegrityError(f"{one.key} changed while it was packed; a registry's contents never do")
    files["CARD.md"] = dataset_card(found).encode()
    files["croissant.json"] = to_json(croissant(found, base=_FOLDER))
    files["README.md"] = _readme(name, found.number, found.head.digest).encode()
    files["SHA256SUMS"] = "".join(f"{sha256(files[path])}  {path}\n" for path in sorted(files)).encode()
    return _zip(files)


def _readme(name: str, number: int, head: str) -> str:
    return f"""# {name}@v{number}: what is known of it

Every file here is listed with its SHA-256 in SHA256SUMS: `sha256sum --check SHA256SUMS`.

- `CARD.md`: what the set is, how its groups are served, what nobody tested. Its numbers are those of the verdict that
  it names, which was made from the predictions beside it.
- `croissant.json`: the same for catalogues and readers of Croissant.
- `{_FOLDER}/`: a registry with this version and the ledger of all versions up to entry `{head}`.
  `fair-distill registry verify {name}@v{number} --registry {_FOLDER}` checks it again; from Python,
  `fair_distill.load("{name}@v{number}", registry="{_FOLDER}")` loads the set.
"""


def _zip(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            # No clock and no owner: what is packed decides about the bytes, nothing else does.
            member = zipfile.ZipInfo(path)
            member.external_attr = 0o644 << 16
            archive.writestr(member, files[path], zipfile.ZIP_DEFLATED)
    return sink.getvalue()
