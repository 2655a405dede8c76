"""The acts on the registry: publish the release candidate, promote it if the gate lets it."""

from dataclasses import dataclass
from datetime import datetime

from fair_distill.artifacts import Workspace, needed, parse_json, to_json
from fair_distill.config import Config
from fair_distill.registry import release
from fair_distill.registry.channels import in_force
from fair_distill.registry.checks import fetch, grounds_of
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.manifest import read_version
from fair_distill.registry.release import Promotion, Publication
from fair_distill.registry.statements import Signer
from fair_distill.registry.store import Store, evidence_key, open_store
from fair_distill.stages.gate import context_of, verdict_of
from fair_distill.stages.record import PROVENANCE_FILE, made_by


@dataclass(frozen=True)
class Hand:
    """Who acts on the registry, when, and the mark by which a lost answer is recognised as one's own.

    Attributes
    ----------
    sign : signs what this hand says; None where no key is configured
    """

    who: str
    now: datetime
    nonce: str
    sign: Signer | None = None


def publish(workspace: Workspace, config: Config, *, registry: str, hand: Hand) -> Publication:
    """Publish the release candidate: its set, the predictions it was judged by, and how it came to be."""
    name = config.release.candidate
    manifest, files = read_version(workspace.set(name), made_by=made_by(config, name))
    predictions = needed(workspace.predictions(name), made_by=f"fair-distill evaluate {name}").read_bytes()
    provenance = needed(workspace.set(name) / PROVENANCE_FILE, made_by=made_by(config, name)).read_bytes()
    return release.publish(
        open_store(registry),
        config.dataset,
        manifest,
        files,
        predictions=predictions,
        provenance=provenance,
        sign=hand.sign,
        who=hand.who,
        now=hand.now,
        nonce=hand.nonce,
    )


def promote(workspace: Workspace, config: Config, channel: str, *, registry: str, hand: Hand) -> Promotion:
    """Judge the release candidate again, on the day, against what the channel has now; promote it if it passes."""
    name = config.release.candidate
    store = open_store(registry)
    manifest, _ = read_version(workspace.set(name), made_by=made_by(config, name))
    context, promoted = _context(store, config.dataset, channel, context_of(workspace))
    verdict = verdict_of(workspace, config, name, now=hand.now.date(), context=context, promoted=promoted)
    return release.promote(
        store,
        config.dataset,
        manifest.version,
        channel,
        order=config.release.channels,
        verdict=verdict,
        verdict_bytes=verdict.to_json(),
        sign=hand.sign,
        signed_by=config.release.signed_by,
        who=hand.who,
        now=hand.now,
        nonce=hand.nonce,
    )


def _context(store: Store, name: str, channel: str, own: bytes) -> tuple[bytes, bytes | None]:
    """Return the workspace's context with what the registry says is promoted, and that version's predictions.

    What is in force is the ledger's to say, so an own `promoted` counts for nothing here.
    """
    rest = {key: value for key, value in parse_json(own, name="context.json").items() if key != "promoted"}
    entries = read_ledger(store, name)
    entry = in_force(entries, channel)
    if entry is None:
        return (own if not parse_json(own, name="context.json").get("promoted") else to_json(rest)), None
    verdict = dict(grounds_of(store, entries, entry.version))[entry]
    predictions = fetch(store, evidence_key(entry.version, "predictions", verdict.predictions), verdict.predictions)
    return to_json({**rest, "promoted": {"version": entry.version, "predictions": verdict.predictions}}), predictions
