"""Judge again what is live: under the policy and on the evaluation data that the workspace has now."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from pathlib import Path

from fair_distill.config import Config
from fair_distill.errors import Refused
from fair_distill.files import require_file, sha256, to_json, write_bytes
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import release, retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import channels, current, version_number
from fair_distill.registry.integrity import envelopes_of, fetch, files_of, manifest_of
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.manifest import write_version
from fair_distill.registry.store import RegistryStore, open_registry
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.context import known_of
from fair_distill.stages.evaluate import evaluate
from fair_distill.stages.judge import by_itself, floor_at, verdict_of
from fair_distill.stages.progress import Progress, quiet
from fair_distill.stages.publish import kept_apart
from fair_distill.statements import Statement, readable, signed_by
from fair_distill.workspace import Workspace

# A sentence names classes and groups, which may be long; an entry of the ledger may not.
_LONGEST_REASON = 1000


@dataclass(frozen=True)
class Live:
    """A version that is in force, and the channels that it is in force in."""

    version: str
    number: int
    channels: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its files are called in the workspace that judges it."""
        return f"live-v{self.number}"


@dataclass(frozen=True)
class Regated:
    """What judging a live version again came to.

    Attributes
    ----------
    measured : whether networks had to be trained, because the gate split is not one it was published with
    demoted : the channels it was taken off: all it was in force in, if it fails; none if evidence lacks
    """

    live: Live
    verdict: Verdict
    measured: bool
    demoted: tuple[str, ...]


def live(config: Config, *, registry: str) -> tuple[Live, ...]:
    """Return the versions of the dataset that any channel gives now."""
    entries = read_ledger(open_registry(registry), config.dataset)
    held = {channel: current(entries, channel) for channel in channels(entries)}
    return tuple(
        Live(version, version_number(entries, version), tuple(c for c, there in held.items() if there == version))
        for version in dict.fromkeys(version for version in held.values() if version)
    )


def with_live(config: Config, of: Live) -> Config:
    """Return the settings with a live version as a set like any other: so it is measured, judged and shown.

    Clauses over the promoted version are left out: it is what is promoted, and has no other to be compared with.
    """
    return config.model_copy(update={"sets": [*config.sets, of.name], "gate": by_itself(config.gate)})


def regate(
    workspace: Workspace,
    config: Config,
    of: Live,
    *,
    registry: str,
    actor: Actor,
    device: str = "cpu",
    now: date | None = None,
    progress: Progress = quiet,
) -> Regated:
    """Judge one live version by the workspace's policy, on its gate split; demote it where it fails.

    A version that this split was not asked about is an attempt at it, which is entered before it is measured. The
    organisation's policy holds, and waivers count.

    The predictions it was published with serve, if they are of this split and of the networks that params.yaml names;
    else networks are trained on the published set. What is neither kept nor broken is told, and left where it is.
    Predictions and verdict lie beside the version afterwards, whatever the outcome.
    """
    kept_apart(config)
    store, floor = open_to_write(registry), floor_at(None)
    floor = by_itself(floor) if floor else None
    manifest = manifest_of(store, of.version)
    files = files_of(store, manifest)
    config = with_live(config, of)
    write_version(workspace.set(of.name), manifest, files)
    context = known_of(workspace, config, of.name, of.channels[0], store=store, actor=actor).context
    known = _known(store, workspace, config, of.version)
    if known is None:
        evaluate(workspace, config, of.name, device=device, progress=progress)
    else:
        write_bytes(workspace.predictions(of.name), known)
    verdict = verdict_of(workspace, config, of.name, floor=floor, now=now, context=context)
    write_bytes(workspace.verdict(of.name), verdict.to_json())
    release.publish(
        store,
        config.dataset,
        manifest,
        files,
        predictions=workspace.predictions(of.name).read_bytes(),
        verdicts=[verdict.to_json()],
        actor=actor,
    )
    demoted = _demoted(store, config.dataset, of, verdict, actor) if verdict.outcome == "fail" else ()
    return Regated(of, verdict, known is None, demoted)


def _demoted(store: RegistryStore, dataset: str, of: Live, verdict: Verdict, actor: Actor) -> tuple[str, ...]:
    taken = []
    for channel in of.channels:
        with suppress(Refused):  # somebody changed the channel meanwhile: what was judged is not in force any more
            retraction.demote(
                store,
                dataset,
                of.version,
                channel,
                reason=f"judged again: {verdict.reasons[0][:_LONGEST_REASON]}",
                actor=replace(actor, nonce=f"{actor.nonce}-{channel}"),
            )
            taken.append(channel)
    return tuple(taken)


def _known(store: RegistryStore, workspace: Workspace, config: Config, version: str) -> bytes | None:
    """Return published predictions of this set by these networks on this split, if there are any that count."""
    from fair_distill.plugins import custom_source_digests

    split = sha256(require_file(workspace.split("gate"), made_by="fair-distill prepare"))
    networks = tuple(network.name for network in config.evaluate.networks)
    options = to_json({network.name: network.options for network in config.evaluate.networks})
    own = custom_source_digests(config.evaluate.model_dump())
    runs = list(product(range(len(networks)), range(config.evaluate.seeds)))
    for key in store.list(f"versions/{version}/predictions/"):
        if not _counts(store, config, version, Path(key).stem):
            continue
        content = fetch(store, key, Path(key).stem)
        table = Predictions.from_parquet(content, name=key)
        same = (table.split, table.networks, table.own, to_json(table.options)) == (split, networks, own, options)
        if same and table.runs() == runs:
            return content
    return None


def _counts(store: RegistryStore, config: Config, version: str, predictions: str) -> bool:
    """Say whether an evaluator signed these predictions, where the policy names evaluators; else all count."""
    keys = config.gate.evaluators
    wanted = Statement("predictions", config.dataset, version, predictions)
    return not keys or any(
        statement == wanted and signed_by(content, keys, name=key)
        for statement, key, content in readable(envelopes_of(store, version))
    )
