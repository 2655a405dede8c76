"""Signed statements that predictions come from a trusted evaluator: written by `attest`, required by what decides.

Predictions name the set and the split that they are for, but anybody can write a file that names them. A statement
binds the file's digest to the set's version and to the key of the machine that trained the networks.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fair_distill.artifacts import Workspace, sha256, write_bytes
from fair_distill.config import Config
from fair_distill.errors import IntegrityError, MeasurementError, Undecided
from fair_distill.gate.policy import PROMOTED
from fair_distill.registry.manifest import MANIFEST_FILE
from fair_distill.stages.evidence import read_bound
from fair_distill.statements import Signer, Statement, read_envelope, signed_by


def attest(workspace: Workspace, config: Config, names: Sequence[str], *, sign: Signer) -> list[Path]:
    """Sign a statement on the predictions of each set, once they are up to date; return the files written.

    For the machine that trained the networks: its key says that these predictions are what they answered.
    """
    paths = []
    for name in names:
        read_bound(workspace, config, name)
        path = workspace.attestation(name)
        write_bytes(path, sign(_statement(workspace, config, name)))
        paths.append(path)
    return paths


def require_attested(workspace: Workspace, config: Config, names: Iterable[str], *, keys: Sequence[str]) -> None:
    """Raise Undecided unless one of the keys signed a statement on the predictions of every set.

    The promoted version's predictions need none: context.json names them by digest.
    """
    if not keys:
        raise Undecided(
            f"unattested: {config.gate.where}.evaluators names no key, so no predictions count here. Add the public "
            "key of the machine that evaluates, or evaluate again in this job"
        )
    for name in names:
        if name != PROMOTED and not attested_by(workspace, config, name, keys=keys):
            raise Undecided(
                f"unattested: none of the {len(keys)} keys in {config.gate.where}.evaluators signed the predictions of "
                f"{name!r}. Run `fair-distill attest {name}` on the machine that evaluated it, and commit "
                f"attestations/{name}.json"
            )


def attested_by(workspace: Workspace, config: Config, name: str, *, keys: Sequence[str]) -> str | None:
    """Return the first of the keys that signed a statement on a set's predictions as they are now; None if none did."""
    path = workspace.attestation(name)
    if not path.exists():
        return None
    content = path.read_bytes()
    try:
        if read_envelope(content, name=str(path)) != _statement(workspace, config, name):
            return None
        return next((key for key in keys if signed_by(content, [key], name=str(path))), None)
    except IntegrityError:
        return None


def _statement(workspace: Workspace, config: Config, name: str) -> Statement:
    manifest, predictions = workspace.set(name) / MANIFEST_FILE, workspace.predictions(name)
    for path in (manifest, predictions):
        if not path.exists():
            raise MeasurementError(f"{path} is missing; run `fair-distill evaluate {name}`")
    return Statement("predictions", config.dataset, sha256(manifest), sha256(predictions))
