"""Judge the dataset of a pull request by the rules of its base branch.

The base branch is checked out. The pull request's head is not: its files are read from git's objects, and its data
are fetched by the digests in its dvc.lock. Policy, context and the graph come from the base branch, so a pull request
cannot change the rules that it is judged by.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import zip_longest
from pathlib import Path
from typing import Any

from fair_distill.config import Config, Gate, parse_config
from fair_distill.config.loading import read_mapping
from fair_distill.config.yaml_dialect import YamlError, parse_yaml
from fair_distill.errors import ConfigError, DataError, IntegrityError, MeasurementError, Undecided
from fair_distill.files import is_md5, sha256, to_json, write_bytes
from fair_distill.gate.policy import PROMOTED
from fair_distill.gate.predictions import read_header
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.layout import key_fault
from fair_distill.registry.manifest import MANIFEST_FILE
from fair_distill.stages.attest import require_attested
from fair_distill.stages.evaluate import evaluate as evaluate_set
from fair_distill.stages.judge import verdict_of
from fair_distill.stages.set_record import known
from fair_distill.text import printable
from fair_distill.versioning.dvc_lock import check_lock
from fair_distill.versioning.dvc_remote import DvcRemote
from fair_distill.versioning.git_objects import Commit, checked_out, place_in_repository
from fair_distill.workspace import Workspace

_MB = 10**6
# The largest files that are read. A listing and an attestation have no size in dvc.lock.
_LIMITS = {"params.yaml": _MB, "dvc.yaml": _MB, "dvc.lock": 4 * _MB, "context.json": _MB, "attestation": _MB}
_LISTING, _PREDICTIONS, _DATA = _MB, 512 * _MB, 16_000 * _MB
_MEMBERS = 1000
# What decides about a verdict, in params.yaml.
_RULES = ("gate", "evaluate", "recipe", "data", "validate")
# Files that can change what the gate job does after they are merged.
_WATCHED = (".dvc/config", "fair_distill", "conftest.py", "sitecustomize.py", "gate-requirements.txt")
_WATCHED_AT_TOP = (".github", ".gitlab-ci.yml", ".gitattributes", ".gitmodules", "CODEOWNERS", "docs/CODEOWNERS")
# Comparing two texts takes time that grows with the square of their lines.
_COMPARED_LINES = 2000


@dataclass(frozen=True)
class PullRequest:
    """The pull request's commit, and the base branch's checkout that it is compared with.

    Attributes
    ----------
    base : the workspace in a checkout of the base branch
    head : the pull request's newest commit
    place : the workspace's path from the top of the repository: "" or names that each end in "/"
    """

    base: Workspace
    head: Commit
    place: str

    @classmethod
    def open(cls, base: Workspace, head: str, *, repository: Path | None = None) -> "PullRequest":
        """Return the pull request with this commit.

        Parameters
        ----------
        repository : a folder of the repository that has the commit, if it is not the workspace's

        Raises
        ------
        ConfigError
            If the commit is not there, or is the one that is checked out.
        """
        commit = Commit.open(repository or base.root, head)
        if checked_out(base.root).digest == commit.digest:
            raise ConfigError(
                f"{base.root.resolve()} is a checkout of the pull request itself ({head}); check out its base branch"
            )
        return cls(base, commit, place_in_repository(base.root))

    def read(self, name: str, *, limit: int | None = None) -> bytes | None:
        """Return a file of the pull request's workspace; see `Commit.read`."""
        return self.head.read(self.place + name, limit=limit or _LIMITS[name])

    def needed(self, name: str) -> bytes:
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
) -> Verdict:
    """Return the verdict on a set of the pull request, by the base branch's policy.

    Parameters
    ----------
    policy, base_config : of the base branch
    folder : an empty folder for the files of the pull request
    evaluate : train on the sets again here, and judge these predictions instead of attested ones

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
    _same_graph(pull_request)
    params = pull_request.needed("params.yaml")
    config = parse_config(_yaml(params, "params.yaml"), name="params.yaml of the pull request")
    config = config.model_copy(update={"gate": policy})
    known(config, name)
    lock = pull_request.needed("dvc.lock")
    outputs = _outputs(_yaml(lock, "dvc.lock"), "dvc.lock of the pull request")
    references = sorted({limit.over for limit in policy.limits if limit.over} - {PROMOTED})
    for reference in references:
        config.reference(reference)
    write_bytes(workspace.params, params)
    write_bytes(workspace.root / "dvc.yaml", (pull_request.base.root / "dvc.yaml").read_bytes())
    _copy_context(pull_request.base, workspace)
    places = _Places(remote, workspace, outputs)
    base_places = replace(places, outputs=_base_outputs(pull_request.base))
    if evaluate:
        config = _evaluated(places, base_places, config, base_config, [name, *references], device=device)
    else:
        write_bytes(workspace.root / "dvc.lock", lock)
        _same_split(places, base_places, policy)
        places.fetch_split("gate")
        for set_name in (name, *references):
            places.fetch_set(set_name)
            places.fetch_predictions(set_name)
            statement = pull_request.read(f"attestations/{set_name}.json", limit=_LIMITS["attestation"])
            if statement is not None:
                write_bytes(workspace.attestation(set_name), statement)
        # Before predictions are parsed: a file that no evaluator signed may be made to harm its reader.
        check_lock(workspace.root, name, references=references)
        unread = {one: workspace.predictions(one).read_bytes() for one in (name, *references)}
        require_attested(workspace, config, unread, keys=policy.evaluators)
        _refuse_other_splits(workspace, [name, *references])
    return verdict_of(workspace, config, name, floor=floor, now=now, attested=not evaluate)


def _evaluated(
    places: "_Places", base_places: "_Places", config: Config, base_config: Config, names: Sequence[str], *, device: str
) -> Config:
    """Train on the first set and on the references here; return the settings that this used.

    Only the first set comes from the pull request. Gate split, training split and references are the base branch's:
    whoever writes the pull request could otherwise choose easy examples, or poor references.
    """
    if config.data != base_config.data:
        raise Undecided(
            "params.yaml: data differs from the base branch, whose gate split a job that evaluates again uses; merge "
            "the change of the data first, with attested predictions"
        )
    sections = ("engine", "seed", "threads", "recipe", "evaluate", "references")
    config = config.model_copy(update={key: getattr(base_config, key) for key in sections})
    for split in ("gate", "train"):
        base_places.fetch_split(split)
    places.fetch_set(names[0])
    for name in names[1:]:
        base_places.fetch_set(name)
    for name in names:
        evaluate_set(places.workspace, config, name, device=device)
    return config


def _same_split(places: "_Places", base_places: "_Places", policy: Gate) -> None:
    """Raise Undecided if the gate split is another one, and the policy says nothing about how it may change."""
    if policy.exam is not None and policy.exam.split is not None:
        return  # the predictions are compared with the exam
    path = places.workspace.split("gate")
    if places.output(path, "the gate split") != base_places.outputs.get(places.name(path)):
        raise Undecided(
            "the gate split differs from the one in the base branch's dvc.lock, and the base branch's gate.exam.split "
            "does not say how it may change; add gate.exam.split (sha256 or examples) to the base branch first"
        )


def _refuse_other_splits(workspace: Workspace, names: Sequence[str]) -> None:
    """Raise IntegrityError unless all predictions are for the gate split; nothing of the split is parsed before.

    dvc.lock names the split by MD5 and says nothing about what predictions are for. An evaluator may have signed
    predictions of the same set on an earlier split, with fewer examples or other labels.
    """
    digest = sha256(workspace.split("gate"))
    for name in names:
        path = workspace.predictions(name)
        split = read_header(path.read_bytes(), name=str(path)).split
        if split != digest:
            raise IntegrityError(
                f"{path} is for the gate split {split[:12]}…; dvc.lock names {digest[:12]}…. Run `dvc repro`"
                f" and `fair-distill attest {name}`"
            )


def _base_outputs(base: Workspace) -> "Mapping[str, _Output]":
    path = base.root / "dvc.lock"
    return _outputs(read_mapping(path, missing=""), str(path)) if path.is_file() else {}


def _same_graph(pull_request: PullRequest) -> None:
    """Raise Undecided unless dvc.yaml is the base branch's, byte for byte."""
    theirs = pull_request.needed("dvc.yaml")
    ours = (pull_request.base.root / "dvc.yaml").read_bytes()
    if theirs != ours:
        pairs = enumerate(zip_longest(theirs.splitlines(), ours.splitlines()), start=1)
        line = next((number for number, (left, right) in pairs if left != right), 1)
        raise Undecided(
            f"dvc.yaml differs from the base branch at line {line}; merge that change on its own first, then rebase"
        )


def _copy_context(base: Workspace, workspace: Workspace) -> None:
    """Copy the base branch's context.json, and the promoted version's predictions if they are stored with it."""
    if base.context.is_file():
        write_bytes(workspace.context, base.context.read_bytes())
    else:
        write_bytes(workspace.context, b"{}\n")
    promoted = base.context.with_name("promoted.parquet")
    if promoted.is_file():
        write_bytes(workspace.context.with_name("promoted.parquet"), promoted.read_bytes())


@dataclass(frozen=True)
class _Output:
    """A file or folder that a stage made, as dvc.lock names it; the MD5 of a folder ends in ".dir"."""

    md5: str
    size: int


def _outputs(lock: Mapping[Any, Any], name: str) -> dict[str, _Output]:
    """Return what the stages of a dvc.lock made, by path. Raises IntegrityError if an entry is not as DVC writes it."""
    outputs: dict[str, _Output] = {}
    stages = lock.get("stages")
    if not isinstance(stages, dict):
        raise IntegrityError(f"{name} has no mapping `stages`; run `dvc repro` and commit dvc.lock")
    for stage, entry in stages.items():
        outs = (entry.get("outs") or []) if isinstance(entry, dict) else []
        for output in outs if isinstance(outs, list) else [outs]:
            read = _output(output)
            if read is None:
                raise IntegrityError(
                    f"{name}: stage {printable(str(stage))[:80]!r} has an output without path, size and MD5; "
                    "run `dvc repro` and commit dvc.lock"
                )
            path = output["path"]
            if outputs.setdefault(path, read) != read:
                raise IntegrityError(f"{name} names {printable(path)[:80]} twice; run `dvc repro`")
    return outputs


def _output(entry: object) -> _Output | None:
    """Return the content that an entry of dvc.lock names; None if it is not an entry as DVC 3 writes it."""
    if not isinstance(entry, dict) or entry.get("hash") != "md5" or not isinstance(entry.get("path"), str):
        return None
    md5, size = entry.get("md5"), entry.get("size")
    if not isinstance(md5, str) or not is_md5(md5.removesuffix(".dir")):
        return None
    if type(size) is not int or not 0 <= size < 2**63:
        return None
    return _Output(md5, size)


@dataclass(frozen=True)
class _Places:
    """Where files come from and go to: a remote, a workspace, and what a dvc.lock names for its paths."""

    remote: DvcRemote
    workspace: Workspace
    outputs: Mapping[str, _Output]

    def name(self, path: Path) -> str:
        """Return what dvc.lock calls a path of the workspace."""
        return path.relative_to(self.workspace.root).as_posix()

    def output(self, path: Path, file: str) -> _Output:
        output = self.outputs.get(self.name(path))
        if output is None:
            raise MeasurementError(f"dvc.lock has no {self.name(path)} ({file}); run `dvc repro` and commit dvc.lock")
        return output

    def fetch_predictions(self, name: str) -> None:
        self._fetch(self.workspace.predictions(name), f"the predictions file of set {name!r}", limit=_PREDICTIONS)

    def fetch_split(self, name: str) -> None:
        self._fetch(self.workspace.split(name), f"the {name} split", limit=_DATA)

    def fetch_set(self, name: str) -> None:
        """Write a set's folder, every file of it, so that a set that was not pushed whole is noticed here."""
        file, folder = f"the listing of set {name!r}", self.workspace.set(name)
        output = self.output(folder, file)
        if not output.md5.endswith(".dir"):
            raise IntegrityError(f"dvc.lock: {self.name(folder)} is a file, not a folder; run `dvc repro`")
        listing = folder / "listing.json"
        self.remote.fetch(output.md5, listing, file=file, limit=_LISTING)
        members = _members(listing.read_bytes(), name)
        listing.unlink()
        left = min(output.size, _DATA)
        for member, md5 in members.items():
            self.remote.fetch(md5, folder / member, file=f"{member} of set {name!r}", limit=left)
            left -= (folder / member).stat().st_size
        if MANIFEST_FILE not in members:
            raise IntegrityError(f"the folder of set {name!r} has no {MANIFEST_FILE}; run `dvc repro` and `dvc push`")

    def _fetch(self, path: Path, file: str, *, limit: int) -> None:
        output = self.output(path, file)
        if output.md5.endswith(".dir"):
            raise IntegrityError(f"dvc.lock: {self.name(path)} is a folder, not a file; run `dvc repro`")
        self.remote.fetch(output.md5, path, file=file, limit=limit, size=output.size)


def _members(listing: bytes, name: str) -> dict[str, str]:
    """Return the MD5s of the files in a folder, by path in it. Raises IntegrityError for anything else."""
    fault = f"the listing of set {name!r} is not one that DVC writes"
    try:
        entries = json.loads(listing)
    except (ValueError, RecursionError):
        raise IntegrityError(f"{fault}: not JSON; run `dvc push` again") from None
    if isinstance(entries, list) and len(entries) > _MEMBERS:
        raise IntegrityError(f"{fault}: {len(entries):,} files, at most {_MEMBERS:,} are read; remove some")
    members: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else [None]:
        path, md5 = (entry.get(key) if isinstance(entry, dict) else None for key in ("relpath", "md5"))
        if not (isinstance(path, str) and isinstance(md5, str) and is_md5(md5)) or key_fault(path):
            raise IntegrityError(f"{fault}: {printable(json.dumps(entry))[:120]}; run `dvc push` again")
        if path in members:
            raise IntegrityError(f"{fault}: {printable(path)[:80]} is in it twice; run `dvc push` again")
        members[path] = md5
    return members


def _yaml(content: bytes, name: str) -> dict[Any, Any]:
    try:
        return parse_yaml(content.decode())
    except (YamlError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} of the pull request is not readable: {' '.join(str(error).split())[:200]}") from None


def changes(pull_request: PullRequest) -> str:
    """Return how the pull request differs from the base branch in what decides about a verdict.

    First a line for each difference, then the differences themselves, which may be long. The text is shown to
    reviewers and used for nothing. It is a stranger's text: control characters and Markdown fences are escaped.
    """
    notes, differences = [], []
    for name, ours, theirs in _rules(pull_request):
        if ours != theirs:
            notes.append(f"# {name} differs from the base branch, which is used here")
            differences += _difference(name, ours, theirs)
    head, checkout = pull_request.head, checked_out(pull_request.base.root)
    for name in (*_WATCHED_AT_TOP, *(pull_request.place + name for name in _WATCHED)):
        if head.identity(name) != checkout.identity(name):
            notes.append(f"# {name} differs from the base branch, which is used here")
    return "\n".join(_shown(line) for line in [*notes, *differences])


def _rules(pull_request: PullRequest) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the name and the lines of everything that decides about a verdict: the base branch's, then the other."""
    params, context = (_both(pull_request, name) for name in ("params.yaml", "context.json"))
    for section in _RULES:
        yield f"params.yaml: {section}", _section(params[0], section), _section(params[1], section)
    yield "context.json", _lines(context[0]), _lines(context[1])


def _both(pull_request: PullRequest, name: str) -> tuple[bytes, bytes]:
    """Return a file of the base branch and of the pull request; an unreadable one is replaced by the reason."""
    path = pull_request.base.root / name
    try:
        theirs = pull_request.read(name) or b""
    except (DataError, IntegrityError) as error:
        theirs = f"({error})".encode()
    return path.read_bytes() if path.is_file() else b"", theirs


def _section(params: bytes, section: str) -> list[str]:
    """Return a section of params.yaml as lines of JSON, which shows values and leaves no room for comments."""
    try:
        value = _yaml(params, "params.yaml").get(section)
        return _lines(to_json(json.loads(json.dumps(value, default=str))))
    except (ConfigError, ValueError, TypeError, RecursionError) as error:
        return [f"(not readable: {' '.join(str(error).split())[:200]})"]


def _lines(content: bytes) -> list[str]:
    return re.split("\r\n|\n", content.decode(errors="replace").rstrip("\n"))


def _difference(name: str, ours: list[str], theirs: list[str]) -> list[str]:
    if max(len(ours), len(theirs)) > _COMPARED_LINES:
        return [f"# {name} is too long to be compared here: {len(ours):,} and {len(theirs):,} lines"]
    return list(difflib.unified_diff(ours, theirs, f"base: {name}", f"pull request: {name}", lineterm=""))


def _shown(line: str) -> str:
    """Return a line for a fenced block of Markdown: without control characters, fences and endless text."""
    text = printable(line).replace("```", "` ` `")
    return text if len(text) <= 300 else f"{text[:300]}…"
