"""The keys of a registry, and the largest size of the content under each.

<version> is the SHA-256 of a manifest, and <sha256> is the SHA-256 of the file that it names:

    objects/files/md5/<first 2>/<other 30>           the files of versions. Equal files are stored once. This is also a
                                                     DVC remote, see `dvc_layout`
    versions/<version>/manifest.json                 written last: a version with a manifest is complete
    versions/<version>/verdicts/<sha256>.json        the verdicts on the version; judging it again adds one
    versions/<version>/predictions/<sha256>.parquet  the predictions that the verdicts were computed from
    versions/<version>/provenance/<sha256>.json      image, commit, device and libraries that made the version
    versions/<version>/statements/<sha256>.json      signed envelopes: who vouches for a verdict or a provenance
    units/<sha256>.bin                               digests of the training units of versions, see `training_units`
    ledger/<name>/<number, 12 digits>.json           the events of the versions of `dataset` or `team/dataset`
    attempts/record/<number, 12 digits>.json         the attempts at gate splits of all datasets, see `attempts`
    attempts/examples/<sha256>.bin                   digests of the examples of a gate split, see `split_examples`
    erasures/record/<number, 12 digits>.json         the erasures of all datasets, see `erasures`
    erasures/lists/<sha256>.json                     the keys that an erasure removed
    regates/<name>/<time>-<verdict>.json             when a live version was judged again, see `regate_record`
    costs/<version>/<time>-<sha256>.json             what the stages that made a version cost, see `costs`
    publishing/<version>-<time>-<operation>.json     the keys that a publication will write, see `announcements`
    collecting/<sha256>.json                         the keys that `gc` is removing; `gc` removes the file at its end
    snapshots/<name>/<first>-<last>/<sha256>.json    the bytes of many ledger entries together, see `snapshots`
"""

import re
from datetime import timedelta

from fair_distill.errors import ConfigError
from fair_distill.files import md5, sha256

# The name of the record of attempts among the chains of a registry. The name of a dataset has no dot.
RECORD_NAME = "all.attempts"
ERASURES_NAME = "all.erasures"
# The kinds of evidence that are stored with a version, and the extensions of their files.
EVIDENCE = {"verdicts": "json", "predictions": "parquet", "provenance": "json", "statements": "json"}
# How much the clock of a writer and the clock of the store may differ. Contents under these prefixes carry a time.
MAX_CLOCK_SKEW = timedelta(minutes=5)
_TIMED = ("ledger/", "publishing/", "attempts/record/", "erasures/record/", "regates/")
# Far above what is written. The files of a set are bounded by its manifest as well.
MAX_ENTRY_BYTES = MAX_STATEMENT_BYTES = 64 * 2**10
MAX_JSON_BYTES = 16 * 2**20
MAX_FILE_BYTES = 4 * 2**30
MAX_EXAMPLES_BYTES = 96 * 2**20
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def key_fault(key: object) -> str | None:
    """Return what is wrong with a key, or with a path in a manifest; None if it is valid."""
    if not isinstance(key, str) or not key:
        return f"{key!r} is not a path"
    for part in key.split("/"):
        if not _PART.fullmatch(part):
            return (
                f"{key!r} is not a relative path of letters, digits, '.', '_' and '-' "
                f"in which no part is empty or starts with '.': {part!r}"
            )
    return None


def check_key(key: str) -> None:
    """Raise ConfigError if a key is not valid in a registry."""
    fault = key_fault(key)
    if fault:
        raise ConfigError(f"not a key of a registry: {fault}")


def check_folder(key: str) -> None:
    """Raise ConfigError if a folder is not valid in a registry. The empty folder is the registry itself."""
    fault = key_fault(key) if key else None
    if fault:
        raise ConfigError(f"not a folder of a registry: {fault}")


def object_key(md5: str) -> str:
    """Return the key of a file of a version, from the MD5 that DVC names it by."""
    return f"objects/files/md5/{md5[:2]}/{md5[2:]}"


def manifest_key(version: str) -> str:
    """Return the key of a version's manifest."""
    return f"versions/{version}/manifest.json"


def evidence_key(version: str, kind: str, digest: str) -> str:
    """Return the key of a piece of evidence; `kind` is a key of EVIDENCE, `digest` its SHA-256."""
    return f"versions/{version}/{kind}/{digest}.{EVIDENCE[kind]}"


def units_key(digest: str) -> str:
    """Return the key of a file of training units, from its SHA-256."""
    return f"units/{digest}.bin"


def examples_key(digest: str) -> str:
    """Return the key of the examples of a gate split, from the SHA-256 of their file."""
    return f"attempts/examples/{digest}.bin"


def erasure_list_key(digest: str) -> str:
    """Return the key of the list of an erasure, from its SHA-256."""
    return f"erasures/lists/{digest}.json"


def matches_key(key: str, content: bytes) -> bool:
    """Return whether a content has the digest in its key. A ledger key has a number instead, so it always matches."""
    kind, *rest = key.split("/")
    name = rest[-1].partition(".")[0]
    if kind == "objects":
        return rest[-2] + name == md5(content)
    if kind in ("snapshots", "units") or key.startswith(("attempts/examples/", "erasures/lists/")):
        return sha256(content) == name
    if kind == "versions":
        return sha256(content) == (rest[0] if rest[1:] == ["manifest.json"] else name)
    return True


def size_limit(key: str) -> int:
    """Return the largest size in bytes of a content under a key. Readers read no more than this."""
    kind, _, rest = key.partition("/")
    if kind == "ledger" or key.startswith(("attempts/record/", "erasures/record/")):
        return MAX_ENTRY_BYTES
    if kind == "attempts":
        return MAX_EXAMPLES_BYTES
    if kind == "versions" and "/statements/" in rest:
        return MAX_STATEMENT_BYTES
    return MAX_JSON_BYTES if key.endswith((".json", ".dir")) else MAX_FILE_BYTES


def check_writable(key: str, content: bytes) -> None:
    """Raise ConfigError for a content that readers would refuse for its size. Nothing can be removed afterwards."""
    if len(content) > size_limit(key):
        raise ConfigError(
            f"{key} would have {len(content):,} bytes; at most {size_limit(key):,} are allowed. It was not written. "
            "Make its content shorter"
        )


def carries_time(key: str) -> bool:
    """Return whether the content of a key states a time, so that the clock of its writer must be right."""
    return key.startswith(_TIMED)
