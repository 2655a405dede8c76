"""Flow `regate`: judge the versions in all channels again, by the current policy and on the current gate split."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from pathlib import Path

from fair_distill.config import Config
from fair_distill.errors import Refused, Undecided
from fair_distill.files import require_file, sha256, to_json, write_bytes
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import release, retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import channels, current, version_number
from fair_distill.registry.integrity import envelopes_of, fetch, files_of, manifest_of
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.manifest import write_version
from fair_distill.registry.regate_record import write_regate
from fair_distill.registry.store import RegistryStore, open_registry
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.context import context_of_first_attempt, registry_context, reserve_attempt
from fair_distill.stages.evaluate import evaluate_set
from fair_distill.stages.judge import compute_verdict
from fair_distill.stages.policy import load_policy_floor, without_promoted
from fair_distill.stages.privacy import check_private_predictions
from fair_distill.stages.progress import ProgressCallback, ignore_progress
from fair_distill.stages.training_units import check_registry_overlap
from fair_distill.statements import Statement, readable, signed_by
from fair_distill.workspace import Workspace

# A sentence may contain long names of classes and groups, and entries of the ledger must stay small.
_LONGEST_REASON = 1000


@dataclass(frozen=True)
class LiveVersion:
    """A version that is the current one of at least one channel.

    Attributes
    ----------
    version : SHA-256 of the manifest
    number : number of the version, as in dataset@v3
    channels : the channels whose current version it is
    """

    version: str
    number: int
    channels: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the version's set in the workspace that judges it."""
        return f"live-v{self.number}"


@dataclass(frozen=True)
class RegateResult:
    """The new verdict on a live version.

    Attributes
    ----------
    measured : whether networks were trained, because no published predictions fit the gate split
    demoted : the channels that the version was removed from, all of them if it fails
    """

    live: LiveVersion
    verdict: Verdict
    measured: bool
    demoted: tuple[str, ...]


def live_versions(config: Config, *, registry: str) -> tuple[LiveVersion, ...]:
    """Return the current versions of all channels of the dataset."""
    entries = read_ledger(open_registry(registry), config.dataset)
    versions = {channel: current(entries, channel) for channel in channels(entries)}
    return tuple(
        LiveVersion(
            version,
            version_number(entries, version),
            tuple(channel for channel, its_version in versions.items() if its_version == version),
        )
        for version in dict.fromkeys(version for version in versions.values() if version)
    )


def with_live_version(config: Config, live: LiveVersion) -> Config:
    """Return the configuration with a live version as one more set, so that it can be evaluated, judged and reported.

    Clauses that compare with the promoted version are removed, because the live version is the promoted one.
    """
    return config.model_copy(update={"sets": [*config.sets, live.name], "gate": without_promoted(config.gate)})


def regate_version(
    workspace: Workspace,
    config: Config,
    live: LiveVersion,
    *,
    registry: str,
    actor: Actor,
    device: str = "cpu",
    now: date | None = None,
    progress: ProgressCallback = ignore_progress,
) -> RegateResult:
    """Judge a live version by the workspace's policy on its gate split, and demote it if it fails.

    Published predictions are reused if they are for this split and for the networks in params.yaml. Otherwise an
    attempt is recorded, and networks are trained on the published set. The organisation's policy floor applies, and
    waivers count. A version that neither passes nor fails is reported and stays in its channels. Predictions and
    verdict are published with the version.

    Raises
    ------
    Undecided
        If earlier attempts have used up alpha and the version does not fail at the level of a first attempt. Its
        predictions are published, so that the next call trains nothing.
    """
    check_private_predictions(config)
    store, floor = open_to_write(registry), load_policy_floor(None)
    floor = without_promoted(floor) if floor else None
    manifest = manifest_of(store, live.version)
    files = files_of(store, manifest)
    config = with_live_version(config, live)
    write_version(workspace.set(live.name), manifest, files)
    check_registry_overlap(workspace, config, live.name, live.channels[0], store=store)
    published = _published_predictions(store, workspace, config, live.version)
    if published is None:
        # A failure needs no share of alpha, so an attempt with the fraction 0 is recorded too.
        reserve_attempt(workspace, config, live.name, store=store, actor=actor, refuse_exhausted=False)
        evaluate_set(workspace, config, live.name, device=device, progress=progress)
    else:
        write_bytes(workspace.predictions(live.name), published)
    predictions = workspace.predictions(live.name).read_bytes()
    exhausted: Undecided | None = None
    try:
        context = registry_context(
            workspace, config, live.name, live.channels[0], store=store, actor=actor, predictions=predictions
        ).context
    except Undecided as error:
        exhausted, context = error, context_of_first_attempt(workspace)
    verdict = compute_verdict(workspace, config, live.name, floor=floor, now=now, context=context)
    if exhausted is not None and verdict.outcome != "fail":
        release.publish(store, config.dataset, manifest, files, predictions=predictions, actor=actor)
        raise exhausted

    write_bytes(workspace.verdict(live.name), verdict.to_json())
    release.publish(
        store,
        config.dataset,
        manifest,
        files,
        predictions=predictions,
        verdicts=[verdict.to_json()],
        actor=actor,
    )
    write_regate(
        store,
        config.dataset,
        version=live.version,
        verdict=sha256(verdict.to_json()),
        split=verdict.split,
        outcome=verdict.outcome,
        who=actor.who,
        now=actor.now,
    )
    demoted = _demote(store, config.dataset, live, verdict, actor) if verdict.outcome == "fail" else ()
    return RegateResult(live, verdict, published is None, demoted)


def _demote(store: RegistryStore, dataset: str, live: LiveVersion, verdict: Verdict, actor: Actor) -> tuple[str, ...]:
    """Remove a version from its channels and return those channels."""
    demoted = []
    for channel in live.channels:
        with suppress(Refused):  # the channel has changed meanwhile, and the version is no longer the current one
            retraction.demote(
                store,
                dataset,
                live.version,
                channel,
                reason=f"judged again: {verdict.reasons[0][:_LONGEST_REASON]}",
                actor=replace(actor, nonce=f"{actor.nonce}-{channel}"),
            )
            demoted.append(channel)
    return tuple(demoted)


def _published_predictions(store: RegistryStore, workspace: Workspace, config: Config, version: str) -> bytes | None:
    """Return published predictions of a version by the networks in params.yaml on the gate split, or None."""
    from fair_distill.plugins import custom_source_digests

    split = sha256(require_file(workspace.split("gate"), made_by="fair-distill stage prepare"))
    networks = tuple(network.name for network in config.evaluate.networks)
    options = to_json({network.name: network.options for network in config.evaluate.networks})
    custom = custom_source_digests(config.evaluate.model_dump())
    runs = list(product(range(len(networks)), range(config.evaluate.seeds)))
    for key in store.list(f"versions/{version}/predictions/"):
        if not _is_trusted(store, config, version, Path(key).stem):
            continue
        content = fetch(store, key, Path(key).stem)
        table = Predictions.from_parquet(content, name=key)
        expected = (split, networks, custom, options)
        actual = (table.split, table.networks, table.custom_digests, to_json(table.options))
        if actual == expected and table.runs() == runs:
            return content
    return None


def _is_trusted(store: RegistryStore, config: Config, version: str, predictions: str) -> bool:
    """Return whether an evaluator signed these predictions; True if the policy names no evaluators."""
    keys = config.gate.evaluators
    expected = Statement("predictions", config.dataset, version, predictions)
    return not keys or any(
        statement == expected and signed_by(content, keys, name=key)
        for statement, key, content in readable(envelopes_of(store, version))
    )
