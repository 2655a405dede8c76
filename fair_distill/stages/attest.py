"""Signed statements that predictions come from a trusted evaluator: `attest` writes them, `enforce` can require them.

A predictions file names its set and split, but anybody can write such a file. A statement binds the digest of the file
to the version of the set and to the key of the machine that trained the networks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fair_distill.config import Config
from fair_distill.errors import IntegrityError, MeasurementError, Undecided
from fair_distill.files import sha256, write_bytes
from fair_distill.gate.policy import PROMOTED
from fair_distill.registry.manifest import MANIFEST_FILE
from fair_distill.stages.evidence import read_checked_evidence
from fair_distill.stages.set_record import set_command
from fair_distill.statements import Signer, Statement, read_envelope, signed_by
from fair_distill.workspace import Workspace


def attest_predictions(workspace: Workspace, config: Config, names: Sequence[str], *, sign: Signer) -> list[Path]:
    """Sign a statement on the predictions of each set and return the files written.

    Run it on the machine that trained the networks: its key vouches that these are their predictions. Predictions must
    be up to date.
    """
    paths = []
    for name in names:
        evidence = read_checked_evidence(workspace, config, name)
        path = workspace.attestation(name)
        write_bytes(path, sign(_statement(workspace, config, name, evidence.predictions)))
        paths.append(path)
    return paths


def require_attested(
    workspace: Workspace, config: Config, predictions: Mapping[str, bytes], *, keys: Sequence[str]
) -> None:
    """Raise Undecided unless one of the keys signed a statement on these predictions of every set.

    The predictions of the promoted version need no statement, because context.json names their digest.

    Parameters
    ----------
    predictions : by set, the bytes that are judged; the files may change after they were read
    """
    if not keys:
        raise Undecided(
            f"unattested: {config.gate.location}.evaluators lists no key, so no predictions count here. Add the public "
            "key of the machine that evaluates, or run `fair-distill gate pull-request --evaluate`"
        )
    for name, content in predictions.items():
        if name != PROMOTED and not attested_by(workspace, config, name, content, keys=keys):
            raise Undecided(
                f"unattested: none of the {len(keys)} keys in {config.gate.location}.evaluators signed the predictions "
                f"of {name!r}. Run `fair-distill gate attest {name}` on the machine that evaluated it, and commit "
                f"attestations/{name}.json"
            )


def attested_by(
    workspace: Workspace, config: Config, name: str, predictions: bytes, *, keys: Sequence[str]
) -> str | None:
    """Return the first of the keys that signed a statement on these predictions of a set, or None."""
    path = workspace.attestation(name)
    if not path.exists():
        return None
    content = path.read_bytes()
    try:
        if read_envelope(content, name=str(path)) != _statement(workspace, config, name, predictions):
            return None
        return next((key for key in keys if signed_by(content, [key], name=str(path))), None)
    except IntegrityError:
        return None


def _statement(workspace: Workspace, config: Config, name: str, predictions: bytes) -> Statement:
    manifest = workspace.set(name) / MANIFEST_FILE
    if not manifest.exists():
        raise MeasurementError(f"{manifest} is missing; run `{set_command(config, name)}`")
    return Statement("predictions", config.dataset, sha256(manifest), sha256(predictions))
