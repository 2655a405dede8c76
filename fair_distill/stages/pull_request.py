"""Judge the dataset of a pull request by the rules of its base branch.

The base branch is checked out. The pull request's head is not: its files are read from git's objects, and its data
are downloaded by the digests in its dvc.lock. Policy, context and DVC graph come from the base branch, so that a pull
request cannot change the rules that it is judged by.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import zip_longest
from pathlib import Path
from typing import Any

from fair_distill.config import Config, Gate, parse_config
from fair_distill.config.loading import read_mapping
from fair_distill.config.yaml_dialect import YamlError, parse_yaml
from fair_distill.errors import ConfigError, IntegrityError, MeasurementError, Undecided
from fair_distill.files import sha256, write_bytes
from fair_distill.gate.policy import PROMOTED
from fair_distill.gate.predictions import read_header
from fair_distill.gate.verdict import Verdict
from fair_distill.stages.attest import require_attested
from fair_distill.stages.context import with_recorded_attempt
from fair_distill.stages.dvc_outputs import Output, OutputDownload, locked_outputs
from fair_distill.stages.evaluate import evaluate_set
from fair_distill.stages.evidence import read_context_file
from fair_distill.stages.judge import compute_verdict
from fair_distill.stages.set_record import check_set_name
from fair_distill.versioning.dvc_lock import check_lock
from fair_distill.versioning.dvc_remote import DvcRemote
from fair_distill.versioning.git_objects import Commit, checked_out, place_in_repository
from fair_distill.workspace import Workspace

_MB = 10**6
# The largest files that are read from git, in bytes. dvc.lock records no size for them.
_LIMITS = {"params.yaml": _MB, "dvc.yaml": _MB, "dvc.lock": 4 * _MB, "context.json": _MB, "attestation": _MB}


@dataclass(frozen=True)
class PullRequest:
    """A commit of a pull request, and the checkout of its base branch.

    Attributes
    ----------
    base : the workspace in a checkout of the base branch
    head : the pull request's newest commit
    place : path from the top of the repository to the workspace: "" or names that each end in "/"
    """

    base: Workspace
    head: Commit
    place: str

    @classmethod
    def open(cls, base: Workspace, head: str, *, repository: Path | None = None) -> "PullRequest":
        """Return the pull request with this commit.

        Parameters
        ----------
        repository : a folder in the repository that has the commit; by default the workspace

        Raises
        ------
        ConfigError
            If the commit does not exist, or is the one that is checked out.
        """
        commit = Commit.open(repository or base.root, head)
        if checked_out(base.root).digest == commit.digest:
            raise ConfigError(
                f"{base.root.resolve()} is a checkout of the pull request itself ({head}); check out the base branch"
            )
        return cls(base, commit, place_in_repository(base.root))

    def read(self, name: str, *, limit: int | None = None) -> bytes | None:
        """Return a file of the pull request's workspace; see `Commit.read`."""
        return self.head.read(self.place + name, limit=limit or _LIMITS[name])

    def needed(self, name: str) -> bytes:
        """Return a file of the pull request's workspace. Raises MeasurementError if it is missing."""
        content = self.read(name)
        if content is None:
            raise MeasurementError(f"the pull request has no {self.place}{name}; run `dvc repro` and commit {name}")
        return content


def judge_pull_request(
    pull_request: PullRequest,
    name: str,
    *,
    policy: Gate,
    base_config: Config,
    remote: DvcRemote,
    folder: Path,
    floor: Gate | None,
    now: date,
    evaluate: bool = False,
    device: str = "cpu",
    registry: str | None = None,
    note: Callable[[str], None] = lambda sentence: None,
) -> Verdict:
    """Return the verdict on a set of the pull request by the base branch's policy.

    Parameters
    ----------
    policy, base_config : of the base branch
    remote : the DVC remote with the files of the pull request and of the base branch
    folder : an empty folder for these files
    evaluate : whether to train on the sets here and judge these predictions instead of attested ones
    registry : the registry whose record of attempts is read; None takes the attempt from the base branch's context
    note : receives a sentence about the attempt

    Raises
    ------
    Undecided
        If dvc.yaml differs from the base branch, or the predictions are not attested.
    MeasurementError
        If a file is not in the remote, or dvc.lock does not name it.
    IntegrityError
        If files do not belong together.
    """
    workspace = Workspace(folder)
    _check_graph(pull_request)
    params = pull_request.needed("params.yaml")
    config = parse_config(parse_untrusted_yaml(params, "params.yaml"), name="params.yaml of the pull request")
    config = config.model_copy(update={"gate": policy})
    check_set_name(config, name)
    lock = pull_request.needed("dvc.lock")
    outputs = locked_outputs(parse_untrusted_yaml(lock, "dvc.lock"), "dvc.lock of the pull request")
    references = sorted({limit.over for limit in policy.limits if limit.over} - {PROMOTED})
    for reference in references:
        config.reference(reference)
    write_bytes(workspace.params, params)
    write_bytes(workspace.root / "dvc.yaml", (pull_request.base.root / "dvc.yaml").read_bytes())
    _copy_context(pull_request.base, workspace)
    download = OutputDownload(remote, workspace, outputs)
    base_download = replace(download, outputs=_base_outputs(pull_request.base))
    if evaluate:
        config = _evaluate_here(download, base_download, config, base_config, [name, *references], device=device)
    else:
        write_bytes(workspace.root / "dvc.lock", lock)
        _check_gate_split(download, base_download, policy)
        download.fetch_split("gate")
        for set_name in (name, *references):
            download.fetch_set(set_name)
            download.fetch_predictions(set_name)
            statement = pull_request.read(f"attestations/{set_name}.json", limit=_LIMITS["attestation"])
            if statement is not None:
                write_bytes(workspace.attestation(set_name), statement)
        # Checked before predictions are parsed: a file that no evaluator signed may be crafted to attack its parser.
        check_lock(workspace.root, name, references=references)
        unparsed = {set_name: workspace.predictions(set_name).read_bytes() for set_name in (name, *references)}
        require_attested(workspace, config, unparsed, keys=policy.evaluators)
        _check_prediction_splits(workspace, [name, *references])
    content = read_context_file(workspace)
    sentence = "attempt not recorded; --registry compares the set with the record of attempts, and `promote` records it"
    if registry is not None:
        # The dataset of the pull request could be renamed, and attempts in the ledgers belong to a dataset.
        recorded_as = config.model_copy(update={"dataset": base_config.dataset})
        content, sentence = with_recorded_attempt(workspace, recorded_as, name, registry=registry, content=content)
    note(sentence)
    return compute_verdict(workspace, config, name, floor=floor, now=now, attested=not evaluate, context=content)


def _evaluate_here(
    download: OutputDownload,
    base_download: OutputDownload,
    config: Config,
    base_config: Config,
    names: Sequence[str],
    *,
    device: str,
) -> Config:
    """Evaluate the first set and the references on this machine; return the configuration that was used.

    Only the first set comes from the pull request. Gate split, training split and references come from the base
    branch, because the author of a pull request could otherwise choose easy examples or poor references.
    """
    if config.data != base_config.data:
        raise Undecided(
            "params.yaml: data differs from the base branch, and --evaluate uses the base branch's gate split; merge "
            "the change of the data first, with attested predictions"
        )
    sections = ("engine", "seed", "threads", "recipe", "evaluate", "references")
    config = config.model_copy(update={key: getattr(base_config, key) for key in sections})
    for split in ("gate", "train"):
        base_download.fetch_split(split)
    download.fetch_set(names[0])
    for name in names[1:]:
        base_download.fetch_set(name)
    for name in names:
        evaluate_set(download.workspace, config, name, device=device)
    return config


def _check_gate_split(download: OutputDownload, base_download: OutputDownload, policy: Gate) -> None:
    """Raise Undecided if the gate split differs from the base branch's and the policy defines no exam for it."""
    if policy.exam is not None and policy.exam.split is not None:
        return  # the verdict compares the predictions with the exam
    path = download.workspace.split("gate")
    if download.output(path, "the gate split") != base_download.outputs.get(download.name(path)):
        raise Undecided(
            "the gate split differs from the one in the base branch's dvc.lock, and the base branch's gate.exam.split "
            "does not say how it may change; add gate.exam.split (sha256 or examples) to the base branch first"
        )


def _check_prediction_splits(workspace: Workspace, names: Sequence[str]) -> None:
    """Raise IntegrityError unless all predictions are for the gate split, before anything in the split is parsed.

    dvc.lock has the MD5 of the split but not the split that predictions are for. An evaluator may have signed
    predictions of the same set on an earlier split, with fewer examples or other labels.
    """
    digest = sha256(workspace.split("gate"))
    for name in names:
        path = workspace.predictions(name)
        split = read_header(path.read_bytes(), name=str(path)).split
        if split != digest:
            raise IntegrityError(
                f"{path} is for the gate split {split[:12]}…; dvc.lock names {digest[:12]}…. Run `dvc repro`"
                f" and `fair-distill gate attest {name}`"
            )


def _base_outputs(base: Workspace) -> Mapping[str, Output]:
    path = base.root / "dvc.lock"
    return locked_outputs(read_mapping(path, missing=""), str(path)) if path.is_file() else {}


def _check_graph(pull_request: PullRequest) -> None:
    """Raise Undecided unless dvc.yaml has the same bytes as in the base branch."""
    head = pull_request.needed("dvc.yaml")
    base = (pull_request.base.root / "dvc.yaml").read_bytes()
    if head != base:
        pairs = enumerate(zip_longest(head.splitlines(), base.splitlines()), start=1)
        line = next((number for number, (head_line, base_line) in pairs if head_line != base_line), 1)
        raise Undecided(
            f"dvc.yaml differs from the base branch at line {line}; merge that change separately first, then rebase"
        )


def _copy_context(base: Workspace, workspace: Workspace) -> None:
    """Copy the base branch's context.json, and the predictions of the promoted version if they are next to it."""
    if base.context.is_file():
        write_bytes(workspace.context, base.context.read_bytes())
    else:
        write_bytes(workspace.context, b"{}\n")
    promoted = base.context.with_name("promoted.parquet")
    if promoted.is_file():
        write_bytes(workspace.context.with_name("promoted.parquet"), promoted.read_bytes())


def parse_untrusted_yaml(content: bytes, name: str) -> dict[Any, Any]:
    """Return the mapping in a YAML file of the pull request. Raises ConfigError if it cannot be parsed."""
    try:
        return parse_yaml(content.decode())
    except (YamlError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} of the pull request is not readable: {' '.join(str(error).split())[:200]}") from None
