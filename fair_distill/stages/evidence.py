"""The files in a workspace that a verdict is computed from, read and checked against each other.

Every interface that reports on a set reads them here: the stage, `enforce`, `explain`, `table`, the report, `publish`,
promotion and the flows. Files that contradict each other, or belong to another set, raise IntegrityError (exit 5).
Files that are missing, or older than the files that they were made from, raise MeasurementError (exit 4). The command
in its message brings them up to date.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fair_distill.card import DatasetCard
from fair_distill.config import BEST, Config, check_engine
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import DataError, IntegrityError, MeasurementError
from fair_distill.files import parse_json, sha256, to_json
from fair_distill.gate.binding import GateIndex, bind
from fair_distill.gate.policy import PROMOTED, Context
from fair_distill.gate.predictions import Predictions, named_attributes, read_header
from fair_distill.registry.manifest import MANIFEST_FILE, SET_FILE, Manifest, check_file
from fair_distill.registry.training_units import TRAINING_UNITS
from fair_distill.stages.set_record import CANDIDATE_KEYS, COMMON_SECTIONS, check_set_name, set_command
from fair_distill.stages.training_units import check_no_overlap, read_training_units, split_units
from fair_distill.versioning.dvc_lock import check_lock
from fair_distill.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Evidence:
    """Files that belong together, as bytes.

    Attributes
    ----------
    manifest, predictions : of the set
    index : labels and groups of the gate split; None if its file is not in the workspace
    references, reference_manifests : predictions and manifests of the sets that clauses compare with, by name
    """

    manifest: bytes
    predictions: bytes
    index: GateIndex | None
    references: Mapping[str, bytes]
    reference_manifests: Mapping[str, bytes]


def read_evidence(
    workspace: Workspace, config: Config, name: str, *, context: Context, promoted: bytes | None = None
) -> Evidence:
    """Read the files that a verdict on a set is computed from, and check that they match the workspace.

    Parameters
    ----------
    promoted : the predictions of the promoted version; by default promoted.parquet next to context.json

    Raises
    ------
    ConfigError
        If params.yaml names another engine than that of this release.
    IntegrityError
        If files are of another set or split, or contradict each other.
    MeasurementError
        If a file is missing, or older than params.yaml or than the files that it was made from.
    """
    check_engine(config)
    check_set_name(config, name)
    compared = _compared_references(config)
    # A live version comes from the registry, so the lock has no stage for it.
    locked = check_lock(workspace.root, name if _in_params(config, name) else None, references=compared)
    index = _read_index(workspace)
    manifest = _read_manifest(workspace, config, name, locked=locked)
    if manifest is None:
        raise _missing_error(workspace.set(name) / MANIFEST_FILE, set_command(config, name))
    _check_units(workspace, name, manifest)
    predictions = _read_predictions(workspace, config, name, manifest, index)
    _check_complete(workspace, config, index, locked=locked)
    references, manifests = _read_references(workspace, config, compared, index=index, locked=locked)
    if context.promoted is not None and any(limit.over == PROMOTED for limit in config.gate.limits):
        # `gate reserve` writes the predictions of the promoted version next to context.json, which has their digest.
        path = workspace.context.with_name("promoted.parquet")
        references[PROMOTED] = _read(path, "fair-distill gate reserve") if promoted is None else promoted
    return Evidence(manifest.to_json(), predictions, index, references, manifests)


def read_context_file(workspace: Workspace) -> bytes:
    """Return the content of context.json. Raises MeasurementError if it is missing and DataError if it is not JSON."""
    try:
        context = workspace.context.read_bytes()
    except FileNotFoundError:
        raise MeasurementError(f"{workspace.context} is missing; run `echo {{}} > context.json`") from None
    parse_json(context, name=str(workspace.context))
    return context


def read_checked_evidence(workspace: Workspace, config: Config, name: str) -> Evidence:
    """Read the evidence for a set as `read_evidence` does, and also check every row of its predictions.

    `publish` and `attest` use it, because they compute no verdict. `judge` checks the rows itself.
    """
    evidence = read_evidence(workspace, config, name, context=Context())
    path = str(workspace.predictions(name))
    table = Predictions.from_parquet(evidence.predictions, name=path)
    bind(table, manifest=evidence.manifest, index=evidence.index, policies=(config.gate,), name=path)
    return evidence


def read_references(workspace: Workspace, config: Config) -> dict[str, bytes]:
    """Return the predictions of the references that clauses compare with, checked as `read_evidence` checks them."""
    compared = _compared_references(config)
    locked = check_lock(workspace.root, None, references=compared)
    index = _read_index(workspace)
    references, manifests = _read_references(workspace, config, compared, index=index, locked=locked)
    if references:
        _check_complete(workspace, config, index, locked=locked)
    for name, content in references.items():
        path = str(workspace.predictions(name))
        table = Predictions.from_parquet(content, name=path)
        bind(table, manifest=manifests.get(name), index=index, policies=(config.gate,), name=path)
    return references


def _check_complete(workspace: Workspace, config: Config, index: GateIndex | None, *, locked: bool) -> None:
    """Raise MeasurementError unless the gate split, the lock or the exam lists the examples to be predicted."""
    exam = config.gate.required_exam
    if index is None and not locked and (exam is None or exam.split is None):
        raise _missing_error(workspace.split("gate"), "fair-distill stage prepare")


def _compared_references(config: Config) -> list[str]:
    """Return the references that clauses compare with; the promoted version is not among them."""
    compared = sorted({limit.over for limit in config.gate.limits if limit.over} - {PROMOTED})
    for reference in compared:
        config.reference(reference)
    return compared


def _read_references(
    workspace: Workspace, config: Config, compared: Sequence[str], *, index: GateIndex | None, locked: bool
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the predictions and the manifests of references, by name."""
    references, manifests = {}, {}
    for reference in compared:
        manifest = _read_manifest(workspace, config, reference, locked=locked)
        references[reference] = _read_predictions(workspace, config, reference, manifest, index)
        if manifest is not None:
            _check_units(workspace, reference, manifest)
            manifests[reference] = manifest.to_json()
        elif not locked:
            raise _missing_error(workspace.set(reference) / MANIFEST_FILE, set_command(config, reference))
    return references, manifests


def _in_params(config: Config, name: str) -> bool:
    return name in config.candidates or name in config.references or (name == BEST and config.best is not None)


def _missing_error(path: Path, command: str) -> MeasurementError:
    return MeasurementError(f"{path} is missing; run `{command}`")


def _read(path: Path, command: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _missing_error(path, command) from None
    except OSError as error:
        raise MeasurementError(f"{path} cannot be read ({error.strerror}); run `{command}` again") from None


def _read_index(workspace: Workspace) -> GateIndex | None:
    path = workspace.split("gate")
    if not path.exists():
        return None
    from fair_distill.data.split_file import read_split

    split = read_split(path)
    attributes, names = named_attributes(split.groups, split.attributes, split.attribute_names)
    return GateIndex(
        digest=sha256(path),
        classes=split.classes,
        groups=split.groups,
        attributes=attributes,
        attribute_names=names,
        labels=split.labels,
        group_indices=split.group_indices,
        pairs=split.pairs,
        clusters=split.clusters,
    )


def _read_manifest(workspace: Workspace, config: Config, name: str, *, locked: bool) -> Manifest | None:
    """Return a set's manifest after comparing it with params.yaml and with the set's files in the workspace."""
    path = workspace.set(name) / MANIFEST_FILE
    if not path.exists():
        return None
    command = set_command(config, name)
    manifest = Manifest.from_json(_read(path, command), name=str(path))
    for entry in manifest.files:
        file = workspace.set(name) / entry.path
        if file.exists():
            check_file(entry, _read(file, command), name=str(file))
    _check_set_file(workspace.set(name) / SET_FILE, manifest, command=command)
    if _in_params(config, name):
        # The check of the lock has compared the training split already, without hashing a large file.
        if not locked:
            _check_source(workspace, manifest, path=path, command=command)
        _check_params(config, name, manifest, path=path)
    return manifest


def _check_units(workspace: Workspace, name: str, manifest: Manifest) -> None:
    """Raise IntegrityError if the gate split shares units with the training units of a set.

    A CI job can lack the splits. The stage `evaluate` has compared them before it predicted anything.
    """
    training = read_training_units(workspace, manifest)
    check_no_overlap(training, split_units(workspace, "gate"), set_name=f"the set {name!r}")


def _check_set_file(file: Path, manifest: Manifest, *, command: str) -> None:
    """Raise IntegrityError if set.parquet exists but is not in the manifest or has another card."""
    if not file.exists():
        return
    if SET_FILE not in [entry.path for entry in manifest.files]:
        raise IntegrityError(f"{file} is not in the set's manifest; run `{command}`")
    try:
        card = DistilledSet.from_parquet(_read(file, command), name=str(file)).card
    except DataError as error:
        raise IntegrityError(f"{error}; run `{command}`") from None
    if to_json(card.to_dict()) != to_json(manifest.card.to_dict()):
        raise IntegrityError(f"the card in {file} is not the card of the set's manifest; run `{command}`")


def _check_source(workspace: Workspace, manifest: Manifest, *, path: Path, command: str) -> None:
    """Raise an error if the training split is in the workspace and the set was made from another one.

    A set without a file is the training split itself, so its card must describe the split.
    """
    from fair_distill.data.split_file import read_split

    file = workspace.split("train")
    if not file.exists():
        return
    digest = sha256(file)
    if manifest.source != digest:
        raise MeasurementError(
            f"{path}: the set was made from the training split {str(manifest.source)[:12]}…, and {file} is now "
            f"{digest[:12]}…. Run `{command}`"
        )
    if not manifest.files:
        split, card = read_split(file, verify=False), manifest.card
        # A resampled split has only the examples of known groups.
        sizes = (0,) if card.kind == "constant" else (len(split), int(split.known.sum()))
        described = DatasetCard(
            dataset=card.dataset,
            name=card.name,
            kind=card.kind,
            classes=split.classes,
            groups=split.groups,
            shape=split.shape,
            examples=card.examples if card.examples in sizes else len(split),
            train_counts=tuple(map(tuple, split.counts.tolist())),
            recipe=replace(card.recipe, formation=1),
            diagnostics=card.diagnostics,
            schema=split.schema,
            missing_cells=dict(split.missing_cells) or None,
        )
        if to_json(described.to_dict()) != to_json(card.to_dict()):
            raise IntegrityError(f"{path} describes another training split than {file}; run `{command}`")


def _check_params(config: Config, name: str, manifest: Manifest, *, path: Path) -> None:
    """Raise an error unless a set was made with the current params.yaml."""
    command = set_command(config, name)
    if manifest.card.dataset != config.dataset:
        raise IntegrityError(
            f"{path} is the manifest of a set of the dataset {manifest.card.dataset!r}, not {config.dataset!r}; "
            f"run `{command}`"
        )
    if manifest.card.name != name:
        raise IntegrityError(f"{path} is the manifest of the set {manifest.card.name!r}, not {name!r}; run `{command}`")
    reference = config.references.get(name)
    without_files = reference is not None and not reference.has_files
    # Sets without a file are of the kind "full", which is the training split itself, or of the kind "constant".
    if (manifest.card.kind in ("full", "constant")) != without_files:
        raise IntegrityError(
            f"{path}: the set is of the kind {manifest.card.kind!r}; in params.yaml {name!r} is "
            f"{'a reference without files' if without_files else 'a set with files'}. Run `{command}`"
        )
    recipe = config.recipe.model_dump(mode="json") | {
        "network": {"name": config.recipe.network.name, "options": config.recipe.network.options}
    }
    described = manifest.card.to_dict()["recipe"]
    priors = recipe.pop("priors", None)
    if priors is not None and (priors == "correct") != ("priors" in described):
        raise MeasurementError(
            f"the card of the set {name!r} was made with other recipe.priors than {priors!r} in params.yaml. "
            f"Run `{command}`"
        )
    if reference is not None and reference.plateau is not None and described.get("steps", 0) >= recipe["steps"]:
        del recipe["steps"]  # the stage `references` has chosen them
    different = _difference(
        {key: described.get(key) for key in recipe}, parse_json(to_json(recipe), name="recipe"), "recipe"
    )
    if different:
        raise MeasurementError(
            f"the card of the set {name!r} has {different[0]}; params.yaml has {different[1]}. Run `{command}`"
        )
    current = parse_json(to_json(config.model_dump(mode="json", by_alias=True)), name="params.yaml")
    settings: dict[str, Any] = current | {"engine": config.engine, "ipc": config.distill.ipc}
    settings["network"] = current["distill"]["network"]
    settings["candidate"] = current["candidates"].get(_chosen(config, name, manifest))
    settings["reference"] = current["references"].get(name)
    settings["draws"], settings["networks"] = config.evaluate.seeds, current["evaluate"]["networks"]
    recorded = manifest.params | {"engine": manifest.engine}
    recorded.pop("own", None)  # to compare the digests of custom code, this would have to import it
    recorded.pop(TRAINING_UNITS, None)  # `source` binds the training split
    if without_files:
        recorded.pop("ipc", None)  # the size of synthetic sets does not change the reference of all examples
    made_with = [*COMMON_SECTIONS, *(("reference",) if name in config.references else CANDIDATE_KEYS)]
    made_with += [BEST] if name == BEST else []
    for key, value in (dict.fromkeys(made_with) | recorded).items():
        different = _difference(value, settings.get(key), key)
        if different:
            raise MeasurementError(
                f"the set {name!r} was made with {different[0]}; params.yaml has {different[1]}. Run `{command}`, "
                f"then `fair-distill stage evaluate {name}` (or `dvc repro` for both)"
            )


def _chosen(config: Config, name: str, manifest: Manifest) -> str:
    """Return the name of the candidate that a set is: of the set `best`, the one that its card names."""
    choice = manifest.card.choice
    if name != BEST or choice is None or config.best is None or choice.chosen not in config.best.sets:
        return name
    return choice.chosen


def _difference(recorded: Any, current: Any, key: str) -> tuple[str, str] | None:
    """Return the first key whose values differ, as two assignments. A key without a value equals a missing key."""
    if isinstance(recorded, dict) and isinstance(current, dict):
        for inner in [*recorded, *(new for new in current if new not in recorded)]:
            different = _difference(recorded.get(inner), current.get(inner), f"{key}.{inner}")
            if different:
                return different
        return None
    # Compared as JSON, because True equals 1 in Python.
    return None if to_json(recorded) == to_json(current) else (f"{key}: {recorded!r}", f"{key}: {current!r}")


def _read_predictions(
    workspace: Workspace, config: Config, name: str, manifest: Manifest | None, index: GateIndex | None
) -> bytes:
    """Return a set's predictions after comparing their header with the manifest, the gate split and params.yaml."""
    path, command = workspace.predictions(name), f"fair-distill stage evaluate {name}"
    content = _read(path, command)
    header = read_header(content, name=str(path))
    if manifest is not None and header.set != manifest.version:
        raise _wrong_set_error(workspace, config, name, header.set, path=path)
    if index is not None and header.split != index.digest:
        raise _wrong_split_error(workspace, header.split, index.digest, path=path, command=command)
    evaluated = [{"name": network, **header.options.get(network, {})} for network in header.networks]
    required = [{"name": network.name, **network.options} for network in config.evaluate.networks]
    if evaluated != required or header.seeds != config.evaluate.seeds:
        raise MeasurementError(
            f"{path} has {header.seeds} seeds of {_describe_networks(evaluated)}; params.yaml: evaluate has "
            f"{config.evaluate.seeds} seeds of {_describe_networks(required)}. Run `{command}`"
        )
    return content


def _describe_networks(networks: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(
        " ".join([str(network["name"]), *(f"{key} {network[key]}" for key in sorted(network) if key != "name")])
        for network in networks
    )


def _wrong_set_error(
    workspace: Workspace, config: Config, name: str, version: str, *, path: Path
) -> IntegrityError | MeasurementError:
    for other_name in config.sets:
        manifest = workspace.set(other_name) / MANIFEST_FILE
        if other_name != name and manifest.exists() and sha256(manifest) == version:
            return IntegrityError(
                f"{path} has the predictions of the set {other_name!r}, not of {name!r}; "
                f"run `fair-distill stage evaluate {name}`"
            )
    return MeasurementError(
        f"{path} is for the version {version[:12]}… of the set {name!r}, and the set has changed since; run "
        f"`fair-distill stage evaluate {name}`"
    )


def _wrong_split_error(
    workspace: Workspace, split: str, gate: str, *, path: Path, command: str
) -> IntegrityError | MeasurementError:
    for split_name in ("train", "tune"):
        file = workspace.split(split_name)
        if file.exists() and sha256(file) == split:
            return IntegrityError(
                f"{path} was evaluated on the {split_name} split, not on the gate split; run `{command}`"
            )
    return MeasurementError(
        f"{path} was evaluated on the gate split {split[:12]}…, and the gate split has changed to {gate[:12]}… since; "
        f"run `{command}`"
    )
