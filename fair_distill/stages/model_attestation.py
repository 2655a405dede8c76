"""Signed statements that predictions of a model come from a machine that the policy trusts.

A statement names the predictions by their SHA-256, both as its subject and as what it is about. A statement on the
predictions of a set has the version of the set as its subject, so neither can replace the other.
"""

from collections.abc import Iterable, Mapping, Sequence

from fair_distill.config import Gate
from fair_distill.errors import Undecided
from fair_distill.files import sha256
from fair_distill.statements import Signer, Statement, read_envelope, signed_by

_NAME = "model"


def attest_model(predictions: bytes, *, sign: Signer) -> bytes:
    """Return a signed statement on the predictions of a model. Run it on the machine that made them."""
    return sign(_statement(predictions))


def require_attested_models(
    policies: Iterable[Gate | None], predictions: Mapping[str, bytes], attestations: Mapping[str, bytes]
) -> None:
    """Raise Undecided unless the evaluators of each policy signed all predictions. Policies without evaluators pass.

    Parameters
    ----------
    predictions, attestations : contents of the files, by their names for messages
    """
    for policy in policies:
        if policy is None or not policy.evaluators:
            continue
        for name, content in predictions.items():
            if not _is_attested(content, attestations, policy.evaluators):
                raise Undecided(
                    f"unattested: none of the {len(policy.evaluators)} keys in {policy.location}.evaluators signed "
                    f"{name}. Run `fair-distill gate attest-model` on the machine that made it, and pass the file with "
                    "--attestation"
                )


def _is_attested(predictions: bytes, attestations: Mapping[str, bytes], keys: Sequence[str]) -> bool:
    statement = _statement(predictions)
    return any(
        read_envelope(content, name=name) == statement and signed_by(content, keys, name=name)
        for name, content in attestations.items()
    )


def _statement(predictions: bytes) -> Statement:
    digest = sha256(predictions)
    return Statement("predictions", _NAME, digest, digest)
