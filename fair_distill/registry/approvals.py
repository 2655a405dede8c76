"""Who agreed to a version: signed statements that people lay beside it before a channel may have it.

An approval is of one version under one policy, so that another policy, a laxer one say, has to be approved anew. It
counts once for each key, however often it was given.
"""

from collections.abc import Mapping, Sequence

from fair_distill.config import Approvals
from fair_distill.errors import Undecided
from fair_distill.files import sha256
from fair_distill.registry.channels import refuse_revoked, version_number
from fair_distill.registry.integrity import envelopes_of
from fair_distill.registry.layout import evidence_key
from fair_distill.registry.ledger import read_to_write
from fair_distill.registry.store import RegistryStore, ensure_stored
from fair_distill.statements import Signer, Statement, readable, signed_by


def approve(store: RegistryStore, name: str, version: str, *, policy: str, sign: Signer) -> None:
    """Lay a signed approval of a version beside it; once more does nothing.

    Parameters
    ----------
    policy : SHA-256 of the policy that it is approved under, as verdicts name it

    Raises
    ------
    ConfigError
        If there is no such version.
    IntegrityError
        If it was revoked.
    """
    entries = read_to_write(store, name)
    version_number(entries, version)
    refuse_revoked(entries, version)
    envelope = sign(Statement("approvals", name, version, policy))
    ensure_stored(store, evidence_key(version, "statements", sha256(envelope)), envelope)


def approved_by(store: RegistryStore, name: str, version: str, *, policy: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Return those of the public keys that approved a version under a policy."""
    wanted = Statement("approvals", name, version, policy)
    statements = readable(envelopes_of(store, version))
    given = [(key, content) for statement, key, content in statements if statement == wanted]
    return tuple(one for one in keys if any(signed_by(content, [one], name=key) for key, content in given))


def check_approvals(
    store: RegistryStore,
    name: str,
    version: str,
    channels: Sequence[str],
    required: Mapping[str, Approvals],
    *,
    policy: str,
    what: str,
) -> None:
    """See that enough people approved a version for each of these channels. Raises Undecided."""
    for channel in channels:
        if channel not in required:
            continue
        rule = required[channel]
        given = approved_by(store, name, version, policy=policy, keys=rule.by)
        if len(given) < rule.at_least:
            raise Undecided(
                f"{what}: {channel} asks for {rule.at_least} approvals under the policy {policy[:12]}…, and it has "
                f"{len(given)}; whoever holds one of the {len(rule.by)} keys gives one by "
                f"`fair-distill registry approve {name}@sha256:{version} --key FILE`"
            )
