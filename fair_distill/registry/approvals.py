"""Approvals: signed statements by which people agree to a version before a channel may have it.

An approval is for one version under one policy. Another policy, for example a laxer one, needs a new approval. Each key
counts once, even if it signed several times.
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
    """Store a signed approval of a version. A second approval with the same key changes nothing.

    Parameters
    ----------
    policy : SHA-256 of the policy that the version is approved under, as in verdicts

    Raises
    ------
    ConfigError
        If the version does not exist.
    IntegrityError
        If the version was revoked.
    """
    entries = read_to_write(store, name)
    version_number(entries, version)
    refuse_revoked(entries, version)
    envelope = sign(Statement("approvals", name, version, policy))
    ensure_stored(store, evidence_key(version, "statements", sha256(envelope)), envelope)


def approved_by(store: RegistryStore, name: str, version: str, *, policy: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Return those of the public keys that approved a version under a policy."""
    approval = Statement("approvals", name, version, policy)
    statements = readable(envelopes_of(store, version))
    envelopes = [(file, content) for statement, file, content in statements if statement == approval]
    return tuple(key for key in keys if any(signed_by(content, [key], name=file) for file, content in envelopes))


def check_approvals(
    store: RegistryStore,
    name: str,
    version: str,
    channels: Sequence[str],
    required: Mapping[str, Approvals],
    *,
    policy: str,
    subject: str,
) -> None:
    """Raise Undecided unless enough people approved a version for each of the channels.

    Parameters
    ----------
    required : the approvals that each channel needs
    subject : what is refused, for messages
    """
    for channel in channels:
        if channel not in required:
            continue
        rule = required[channel]
        approvers = approved_by(store, name, version, policy=policy, keys=rule.by)
        if len(approvers) < rule.at_least:
            noun = "approval" if rule.at_least == 1 else "approvals"
            raise Undecided(
                f"{subject}: {channel} needs {rule.at_least} {noun} under the policy {policy[:12]}…, and it has "
                f"{len(approvers)}. A holder of one of the {len(rule.by)} keys approves it with "
                f"`fair-distill registry approve {name}@sha256:{version} --key FILE`"
            )
