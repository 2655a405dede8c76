"""The report of an erasure: what was removed from where, and what the command could not reach. It names no person."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fair_distill.config import Config
from fair_distill.files import sha256, to_json, write_bytes
from fair_distill.registry.actor import Actor
from fair_distill.registry.entry import timestamp
from fair_distill.registry.erasures import read_erasures
from fair_distill.registry.store import open_registry
from fair_distill.stages.erase import ErasurePlan, Places
from fair_distill.statements import Statement

_FORMAT = 1
# Locations that the environment names and that other workspaces may share.
_SHARED = {
    "FAIR_DISTILL_REPORTS": "reports show examples. Remove the reports of runs before the erasure",
    "FAIR_DISTILL_SOURCE_CACHE": "it has copies of source files. Remove it; the next run downloads what it needs",
}


def unreached_places(plan: ErasurePlan, places: Places, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the places that the command does not reach, each with what to do about it."""
    rows = [{"place": place, "action": action} for place, action in plan.unreached]
    for variable, action in _SHARED.items():
        if environment.get(variable):
            rows.append({"place": f"the location in {variable}", "action": action})
    if plan.in_workspace and not environment.get("FAIR_DISTILL_REPORTS"):
        action = "reports of flows are in the folder `reports` next to the repository. Remove those before the erasure"
        rows.append({"place": "reports of flows", "action": action})
    for name, count in plan.dvc.unattributed.items():
        if count:
            text = f"{count:,} contents belong to no recorded run, such as source data. `dvc gc` removes unused ones"
            rows.append({"place": name, "action": text})
    if plan.registry.versions:
        labels = ", ".join(f"v{row.number}" for row in plan.registry.versions)
        rows += [
            {
                "place": "consumers",
                "action": f"machines that loaded {labels} have copies, in FAIR_DISTILL_CACHE or as files. Ask the "
                "consumers to remove them, and to train their models again",
            },
            {
                "place": "evidence packs",
                "action": f"exported packs of {labels} contain predictions. Ask the recipients to remove them",
            },
        ]
    if not plan.registry.is_empty and open_registry(places.registry).remote:
        rows.append(
            {
                "place": "earlier object versions in the bucket",
                "action": "a bucket with versioning keeps the removed keys of this report. Remove their versions with "
                "s3:DeleteObjectVersion, or let a lifecycle rule do it",
            }
        )
    rows += [
        {
            "place": "backups",
            "action": "remove the files from backups of all places in this report, or let them expire",
        },
        {
            "place": "other clones of the workspace",
            "action": "pull the commit with blocklist.json, remove artifacts/ and .checkpoints/, and run `dvc gc`",
        },
    ]
    return rows


def report_of(
    plan: ErasurePlan, config: Config, *, places: Places, removed: tuple[str, ...], actor: Actor, unreached: object
) -> dict[str, Any]:
    """Return the report as a JSON object."""
    return {
        "format": _FORMAT,
        "dataset": config.dataset,
        "time": timestamp(actor.now),
        "who": actor.who,
        "names": {"kind": plan.people.kind, "count": len(plan.people.names)},
        "examples": plan.counts,
        "blocklist": {
            "new": plan.blocklist.new,
            "total": plan.blocklist.total,
            "sha256": sha256(plan.blocklist.blocklist),
        },
        "registry": {
            "location": open_registry(places.registry).identity,
            "versions": [
                {"version": row.version, "number": row.number, "channels": list(row.channels), "reason": row.reason}
                for row in plan.registry.versions
            ],
            "removed": list(removed),
            "replaced_examples": {old: new.digest for old, new in plan.registry.redacted.items()},
            "record": _record(places, config.dataset),
        },
        "dvc": plan.dvc.counts(),
        "workspace": plan.in_workspace,
        "checkpoints": len(plan.checkpoints),
        "not_reached": unreached,
    }


def _record(places: Places, dataset: str) -> list[dict[str, Any]]:
    """Return all erasures of a dataset, so that the report of a repeated command lists what was done before a crash."""
    erasures = read_erasures(open_registry(places.registry))
    return [
        {
            "number": entry.number,
            "time": entry.time,
            "who": entry.who,
            "versions": list(removal.versions),
            "removed": len(removal.removed),
            "list": entry.contents,
        }
        for entry, removal in zip(erasures.entries, erasures.lists, strict=True)
        if entry.dataset == dataset
    ]


def write_erasure_report(path: Path, report: Mapping[str, Any], *, places: Places, actor: Actor) -> Path | None:
    """Write the report, and a signed statement about it next to it if there is a key; return the statement's path."""
    content = to_json(dict(report))
    write_bytes(path, content)
    if actor.sign is None:
        return None
    entries = read_erasures(open_registry(places.registry)).entries
    subject = entries[-1].digest if entries else sha256(content)
    envelope = path.with_suffix(".dsse.json")
    write_bytes(envelope, actor.sign(Statement("erasures", str(report["dataset"]), subject, sha256(content))))
    return envelope
