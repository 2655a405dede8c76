"""Identity policies (AWS IAM) for a registry on S3: one for each role, with the least rights for its commands.

A role's policy is for one registry, and thus for one prefix. A writing role can be limited to one dataset, or to the
datasets of one team. The ledger, its snapshots and the records of `regate` have the name of the dataset in their keys.
All other contents are shared by the datasets of a registry: they are stored under digests, and no write replaces one.
Teams that must not read each other's data need separate registries.

What separates publishing from promoting is the right to store a verdict: every promotion needs one that passed. Only
signatures separate two roles that may both store verdicts, such as `promote` and `regate`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fair_distill.errors import ConfigError
from fair_distill.files import to_json
from fair_distill.registry.entry import check_name
from fair_distill.storage.schemes import parse_url

# `.create-only` is the key by which a store checks, before the first write, that the server replaces no key.
_PROBE = ".create-only"
_LEDGER = ("ledger/{dataset}/*", "snapshots/{dataset}/*")
# An attempt announces the file of examples that it needs, so that `gc` does not remove it.
_ATTEMPTS = ("attempts/*", "snapshots/all.attempts/*", "publishing/*")
# What no role may remove: the history, and what it is based on.
_PERMANENT = (
    "ledger/*",
    "snapshots/*",
    "attempts/record/*",
    "regates/*",
    "erasures/*",
    "versions/*/manifest.json",
    "versions/*/verdicts/*",
    "versions/*/statements/*",
)


@dataclass(frozen=True)
class Role:
    """The rights of a role in addition to reading.

    Attributes
    ----------
    commands : what the role can do, for people
    creates, removes : patterns of the keys that it creates and removes; {dataset} is the dataset
    keeps : patterns of the keys that it is denied to remove, although a pattern in `removes` covers them
    """

    commands: str
    creates: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()


ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "read": Role("load, verify, list, status, export"),
        "publish": Role(
            "publish, gate reserve",
            creates=(
                _PROBE,
                "objects/*",
                "units/*",
                "versions/*/manifest.json",
                "versions/*/predictions/*",
                "versions/*/provenance/*",
                "versions/*/statements/*",
                "costs/*",
                *_ATTEMPTS,
                *_LEDGER,
            ),
        ),
        "promote": Role(
            "promote, approve, rollback, demote, revoke",
            creates=(_PROBE, "versions/*/verdicts/*", "versions/*/statements/*", *_ATTEMPTS, *_LEDGER),
        ),
        "regate": Role(
            "the flow regate",
            creates=(
                _PROBE,
                "versions/*/predictions/*",
                "versions/*/verdicts/*",
                "versions/*/statements/*",
                "regates/{dataset}/*",
                *_ATTEMPTS,
                *_LEDGER,
            ),
        ),
        "erase": Role(
            "erase",
            creates=(
                _PROBE,
                "erasures/*",
                "collecting/*",
                "attempts/examples/*",
                "snapshots/all.erasures/*",
                *_LEDGER,
            ),
            removes=(
                "objects/*",
                "units/*",
                "versions/*/predictions/*",
                "versions/*/provenance/*",
                "attempts/examples/*",
                "collecting/*",
            ),
            keeps=_PERMANENT,
        ),
        "collect": Role(
            "gc",
            creates=(_PROBE, "collecting/*"),
            removes=(
                "objects/*",
                "units/*",
                "versions/*",
                "attempts/examples/*",
                "publishing/*",
                "collecting/*",
            ),
            keeps=tuple(pattern for pattern in _PERMANENT if not pattern.startswith("versions/")),
        ),
    }
)


def iam_policy(role: str, registry: str, *, dataset: str = "*") -> dict[str, Any]:
    """Return the identity policy of a role for a registry.

    Parameters
    ----------
    role : a key of ROLES
    registry : s3://bucket/prefix; the prefix must not be empty, because the bucket may have other data
    dataset : the dataset that the role may change, `team/*` for those of a team, or `*` for all

    Raises
    ------
    ConfigError
        If the role is unknown, the registry is not a prefix in a bucket, or the dataset's name is not valid.
    """
    if role not in ROLES:
        raise ConfigError(f"the role {role!r} does not exist; choose one of {', '.join(ROLES)}")
    url = parse_url(registry, source="--registry")
    if url.scheme != "s3" or not url.host or not url.key:
        raise ConfigError(f"--registry is {url.safe_text}; IAM policies are for s3://bucket/prefix. Pass one")
    if dataset != "*":
        check_name(f"{dataset.removesuffix('/*')}{'/any' * dataset.endswith('/*')}")
    bucket = f"arn:aws:s3:::{url.host}"
    rights = ROLES[role]

    def keys(patterns: Sequence[str]) -> list[str]:
        return [f"{bucket}/{url.key}/{pattern.format(dataset=dataset)}" for pattern in patterns]

    statements = [
        _statement("Read", "Allow", "s3:GetObject", keys(["*"])),
        _statement("List", "Allow", "s3:ListBucket", [bucket], {"StringLike": {"s3:prefix": f"{url.key}/*"}}),
    ]
    if rights.creates:
        statements += [
            _statement("Create", "Allow", "s3:PutObject", keys(rights.creates)),
            _statement("NeverOverwrite", "Deny", "s3:PutObject", keys(["*"]), {"Null": {"s3:if-none-match": "true"}}),
        ]
    if rights.removes:
        statements += [
            _statement("Remove", "Allow", "s3:DeleteObject", keys(rights.removes)),
            _statement("NeverRemove", "Deny", "s3:DeleteObject", keys(rights.keeps)),
        ]
    else:
        removals = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
        statements.append(_statement("NeverRemove", "Deny", removals, keys(["*"])))
    return {"Version": "2012-10-17", "Statement": statements}


def iam_policy_json(role: str, registry: str, *, dataset: str = "*") -> bytes:
    """Return the policy of a role as a JSON document; see `iam_policy`."""
    return to_json(iam_policy(role, registry, dataset=dataset))


def _statement(
    name: str, effect: str, action: str | list[str], resources: list[str], condition: dict[str, Any] | None = None
) -> dict[str, Any]:
    statement = {"Sid": name, "Effect": effect, "Action": action, "Resource": resources}
    return statement | ({"Condition": condition} if condition else {})
