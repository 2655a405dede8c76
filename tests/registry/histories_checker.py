"""What must hold after a history, checked on the files themselves. Does not import fair_distill.

The checker has its own reading of the file formats and its own model of channels. It takes the files of a registry and
the records of the operations: what each returned, and when it began and ended.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

Files = dict[str, bytes]
FAR = 2**63


@dataclass(frozen=True)
class Record:
    """One operation of a history. `end` is None, and so is `outcome`, if its process was killed meanwhile."""

    operation: str
    nonce: str
    start: int
    end: int | None
    outcome: str | None
    arguments: dict[str, Any]
    result: dict[str, Any]


def violations(
    files: Files,
    records: Sequence[Record],
    *,
    name: str,
    images: dict[str, str],
    keys: Iterable[str],
    splits: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> list[str]:
    """Return a sentence for each thing that must not be; none if all is well.

    Parameters
    ----------
    images : the SHA-256 of the images of each version
    keys : hex public keys, one of which must have approved what is promoted to production; none if none is asked for
    splits : the numbers of the examples of each split at which attempts are made
    """
    try:
        entries = read_chain(files, name)
        attempts = read_attempts(files)
    except ValueError as fault:
        return [str(fault)]
    model = Model(entries)
    prepared = {record.nonce for record in records if record.operation == "prepare"}
    return [
        *model.faults,
        *check_numbers(entries, records),
        *check_contents(files, entries, images),
        *check_snapshots(files, entries, name),
        *check_approvals(files, entries, prepared, name, list(keys)),
        *check_operations(entries, records, model, images),
        *check_attempts(attempts, records, splits),
    ]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_chain(files: Files, name: str) -> list[dict[str, Any]]:
    """Return the entries of a ledger. Raises ValueError at the first that does not fit."""
    keys = sorted(key for key in files if key.startswith(f"ledger/{name}/"))
    entries: list[dict[str, Any]] = []
    prev = "0" * 64
    for number, key in enumerate(keys, start=1):
        if key != f"ledger/{name}/{number:012d}.json":
            raise ValueError(f"entry {number} is missing: the next key is {key}")
        entry = json.loads(files[key])
        unsealed = {field: value for field, value in entry.items() if field != "seal"}
        spelled = json.dumps(unsealed, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        if (entry["number"], entry["name"], entry["prev"], entry["seal"]) != (
            number,
            name,
            prev,
            digest(spelled.encode()),
        ):
            raise ValueError(f"entry {number} does not continue the chain")
        if entries and entry["time"] < entries[-1]["time"]:
            raise ValueError(f"entry {number} is dated before entry {number - 1}")
        prev = digest(files[key])
        entries.append(entry)
    return entries


def read_attempts(files: Files) -> list[dict[str, Any]]:
    """Return the entries of the record of attempts. Raises ValueError at the first that does not fit."""
    entries: list[dict[str, Any]] = []
    prev = "0" * 64
    for number, key in enumerate(sorted(key for key in files if key.startswith("attempts/record/")), start=1):
        entry = json.loads(files[key])
        unsealed = {field: value for field, value in entry.items() if field != "seal"}
        spelled = json.dumps(unsealed, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        found = (key, entry["number"], entry["prev"], entry["seal"])
        if found != (f"attempts/record/{number:012d}.json", number, prev, digest(spelled.encode())):
            raise ValueError(f"attempt {number} does not continue the record")
        if f"attempts/examples/{entry['examples']}.bin" not in files:
            raise ValueError(f"the examples of attempt {number} are missing")
        prev = digest(files[key])
        entries.append(entry)
    return entries


def check_attempts(
    entries: Sequence[dict[str, Any]], records: Sequence[Record], splits: Mapping[str, Sequence[int]]
) -> list[str]:
    """No predictions have two attempts, none takes more than is left on its examples, and no answer is lost."""
    faults, bound, reserved = [], {}, {}
    for entry in entries:
        if entry["event"] == "reserve":
            spent = max(_spent(reserved.values(), splits, entry["split"], cell) for cell in range(4))
            if spent + entry["fraction"] > 1 + 1e-9:
                faults.append(f"attempt {entry['number']} takes {entry['fraction']}, and {spent} was taken")
            reserved[entry["number"]] = entry
        if entry["predictions"] is not None:
            about = (entry["version"], entry["split"], entry["predictions"])
            if about in bound or entry["reservation"] in bound.values():
                faults.append(f"entry {entry['number']} binds predictions or an attempt for the second time")
            bound[about] = entry["reservation"]
        if entry["nonce"] not in {record.nonce for record in records}:
            faults.append(f"attempt {entry['number']} is of no operation")
    for record in records:
        if record.operation == "reserve" and record.outcome == "done":
            number, predictions = record.result["attempt"], record.result["predictions"]
            entry = reserved.get(number)
            if entry is None or (predictions and bound.get((entry["version"], entry["split"], predictions)) != number):
                faults.append(f"reserve {record.nonce} reported attempt {number}, which is not in the record")
    return faults


def _spent(entries: Iterable[dict[str, Any]], splits: Mapping[str, Sequence[int]], split: str, cell: int) -> float:
    """Return the part of alpha that attempts took from the examples of one cell of a split."""
    mine = {number for number in splits[split] if number % 4 == cell}
    return sum(entry["fraction"] * len(mine & set(splits[entry["split"]])) / len(mine) for entry in entries)


class Model:
    """The state after each number of entries, computed from nothing but the entries."""

    def __init__(self, entries: Sequence[dict[str, Any]]) -> None:
        self.entries = entries
        self.faults: list[str] = []
        for number, entry in enumerate(entries):
            fault = self._illegal(number, entry)
            if fault:
                self.faults.append(f"entry {number + 1}: {fault}")

    def published(self, count: int) -> list[str]:
        return [entry["version"] for entry in self.entries[:count] if entry["event"] == "publish"]

    def revoked(self, count: int) -> set[str]:
        return {entry["version"] for entry in self.entries[:count] if entry["event"] == "revoke"}

    def stack(self, count: int, channel: str) -> list[tuple[str, str]]:
        """Return (event, version) of a channel, the last in force, after so many entries."""
        stack: list[tuple[str, str]] = []
        for entry in self.entries[:count]:
            if entry["channel"] != channel:
                continue
            step = (entry["event"], entry["version"])
            if step[0] == "rollback":
                while stack and (stack[-1][0] == "demote" or stack[-1][1] != step[1]):
                    stack.pop()
            if step[0] in ("rollback", "demote") and stack:
                stack.pop()
            stack.append(step)
        return stack

    def in_force(self, count: int, channel: str) -> str | None:
        stack = self.stack(count, channel)
        return stack[-1][1] if stack and stack[-1][0] != "demote" else None

    def held(self, count: int, channel: str, version: str) -> bool:
        events = [
            entry["event"]
            for entry in self.entries[:count]
            if (entry["channel"], entry["version"]) == (channel, version)
        ]
        return bool(events) and events[-1] != "demote"

    def before(self, count: int, channel: str) -> str | None:
        """Return the version that a rollback leads to."""
        there = self.in_force(count, channel)
        for _, version in reversed(self.stack(count, channel)[:-1]):
            if version != there and self.held(count, channel, version) and version not in self.revoked(count):
                return version
        return None

    def answer(self, count: int, selector: str, moment: str | None) -> str:
        """Return what a consumer must get for a selector after so many entries: a version, or the kind of refusal."""
        seen = count
        if moment is not None:
            count = max((i + 1 for i, entry in enumerate(self.entries[:count]) if entry["time"] <= moment), default=0)
        if count == 0:
            return "nothing"
        if selector.startswith("v"):
            versions = self.published(count)
            version = versions[int(selector[1:]) - 1] if int(selector[1:]) <= len(versions) else None
        else:
            used = any(entry["channel"] == selector for entry in self.entries[:count])
            version = self.in_force(count, selector)
            if used and version is None:
                return "withdrawn"
        if version is None:
            return "nothing"
        return "withdrawn" if version in self.revoked(seen) else version

    def _illegal(self, count: int, entry: dict[str, Any]) -> str | None:
        event, version, channel = entry["event"], entry["version"], entry["channel"]
        published, revoked = version in self.published(count), version in self.revoked(count)
        legal = {
            "attempt": True,
            "publish": not published,
            "revoke": published and not revoked,
            "demote": self.in_force(count, channel) == version,
            "rollback": self.before(count, channel) == version,
            "promote": published and not revoked and self.in_force(count, channel) != version,
        }
        return None if legal[event] else f"a {event} of {version[:12]} that must not be"


def check_numbers(entries: Sequence[dict[str, Any]], records: Sequence[Record]) -> list[str]:
    """No entry of an operation that was answered is lost, none is doubled, and none has no operation."""
    faults = []
    known = {record.nonce: record for record in records}
    acts = Counter((entry["nonce"], entry["event"], entry["channel"], entry["version"]) for entry in entries)
    faults += [f"{act} is {count} times in the ledger" for act, count in acts.items() if count > 1]
    faults += [f"entry {entry['number']} is of no operation" for entry in entries if entry["nonce"] not in known]
    for record in records:
        there = [entry["number"] for entry in entries if entry["nonce"] == record.nonce]
        if record.outcome == "done" and not set(record.result.get("entries", ())) <= set(there):
            faults.append(
                f"{record.operation} {record.nonce} reported the entries {record.result['entries']}; there are {there}"
            )
        if record.outcome == "refused" and there and record.operation != "promote":
            faults.append(f"{record.operation} {record.nonce} was refused, and wrote {there}")
    return faults


def check_contents(files: Files, entries: Sequence[dict[str, Any]], images: dict[str, str]) -> list[str]:
    """Everything that a published version consists of is there, byte for byte."""
    faults = []
    for version in {entry["version"] for entry in entries if entry["event"] == "publish"}:
        key = f"versions/{version}/manifest.json"
        if key not in files or digest(files[key]) != version:
            faults.append(f"the manifest of {version[:12]} is lost or damaged")
            continue
        for file in json.loads(files[key])["files"]:
            content = files.get(f"objects/files/md5/{file['md5'][:2]}/{file['md5'][2:]}")
            if content is None or digest(content) != file["sha256"]:
                faults.append(f"{file['path']} of {version[:12]} is lost or damaged")
        for kind in ("predictions", "provenance"):
            if not any(other.startswith(f"versions/{version}/{kind}/") for other in files):
                faults.append(f"the {kind} of {version[:12]} is lost")
        if version not in images:
            faults.append(f"{version[:12]} was never made")
    for entry in entries:
        key = f"versions/{entry['version']}/verdicts/{entry['verdict']}.json"
        if entry["verdict"] and (key not in files or digest(files[key]) != entry["verdict"]):
            faults.append(f"the verdict of entry {entry['number']} is lost or damaged")
    return faults


def check_snapshots(files: Files, entries: Sequence[dict[str, Any]], name: str) -> list[str]:
    """Each snapshot has exactly the entries of its block, and there is one of each block."""
    faults = []
    seen = Counter[str]()
    for key in (key for key in files if key.startswith(f"snapshots/{name}/")):
        block, _, stem = key.removeprefix(f"snapshots/{name}/").partition("/")
        first, last = (int(number) for number in block.split("-"))
        seen[block] += 1
        wanted = [files[f"ledger/{name}/{number:012d}.json"].decode() for number in range(first, last + 1)]
        if stem != f"{digest(files[key])}.json" or json.loads(files[key])["entries"] != wanted:
            faults.append(f"{key} is not the snapshot of its block")
    return faults + [f"block {block} has {count} snapshots" for block, count in seen.items() if count > 1]


def check_approvals(
    files: Files, entries: Sequence[dict[str, Any]], prepared: set[str], name: str, keys: Sequence[str]
) -> list[str]:
    """Each version that a history promoted to production has an approval that one of the keys signed."""
    faults = []
    promotions = [entry for entry in entries if (entry["event"], entry["channel"]) == ("promote", "production")]
    promoted = {entry["version"] for entry in promotions if entry["nonce"] not in prepared}
    for version in promoted if keys else ():
        envelopes = [json.loads(files[key]) for key in files if key.startswith(f"versions/{version}/statements/")]
        if not any(_approves(envelope, name, version, keys) for envelope in envelopes):
            faults.append(f"{version[:12]} was promoted to production without an approval")
    return faults


def _approves(envelope: dict[str, Any], name: str, version: str, keys: Sequence[str]) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    payload = base64.b64decode(envelope["payload"])
    statement = json.loads(payload)
    if statement["predicateType"] != "urn:fair-distill:approval:v1":
        return False
    if statement["subject"] != [{"name": name, "digest": {"sha256": version}}]:
        return False
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    for key in keys:
        for signature in envelope["signatures"]:
            try:
                Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(
                    base64.b64decode(signature["sig"]), signed
                )
                return True
            except InvalidSignature:
                continue
    return False


def check_operations(
    entries: Sequence[dict[str, Any]], records: Sequence[Record], model: Model, images: dict[str, str]
) -> list[str]:
    """Every answer was right at some moment between the beginning and the end of its operation."""
    times = Landings(entries, records)
    faults = []
    for record in records:
        if record.outcome is None or record.end is None:
            continue
        what = f"{record.operation} {record.arguments} of {record.nonce}"
        first, last = times.least(record.start), times.most(record.end)
        if record.outcome == "fault":
            faults.append(f"{what} failed: {record.result['error']}")
        elif record.operation == "load" and record.outcome != "unanswered":
            selector, moment = record.arguments["selector"], record.arguments["moment"]
            right = {model.answer(count, selector, moment) for count in range(first, last + 1)}
            given = record.result.get("version", record.outcome)
            if given not in right:
                faults.append(f"{what} gave {given[:12]}, and right is {sorted(right)} ({first} to {last} entries)")
            if "version" in record.result and images.get(given) != record.result["images"]:
                faults.append(f"{what} gave other bytes than those of {given[:12]}")
            head = record.result.get("head")
            if moment is None and head is not None and not first <= head <= last:
                faults.append(f"{what} saw {head} entries; there were {first} to {last}")
        elif record.operation == "publish" and record.outcome == "done":
            if record.arguments["version"] not in model.published(last):
                faults.append(f"{what} was done, and is not in the ledger")
        elif record.operation == "promote" and record.outcome == "done":
            version, channel = record.arguments["version"], record.arguments["channel"]
            if not any(model.in_force(count, channel) == version for count in range(first, last + 1)):
                faults.append(f"{what} was done, and the version never was in force meanwhile")
    return faults


class Landings:
    """How many entries there were at a moment, at least and at most, from what the operations saw."""

    def __init__(self, entries: Sequence[dict[str, Any]], records: Sequence[Record]) -> None:
        begun = {record.nonce: record.start for record in records}
        self.starts = [begun.get(entry["nonce"], 0) for entry in entries]
        numbers = {entry["nonce"]: entry["number"] for entry in entries}  # the last of each operation
        self.seen: list[tuple[int, int]] = []
        for record in records:
            if record.end is None or record.outcome is None:
                continue
            head = record.result.get("head", 0) if record.arguments.get("moment") is None else 0
            written = numbers.get(record.nonce, 0) if record.outcome == "done" else 0
            self.seen.append((record.end, max(head, written)))

    def least(self, moment: int) -> int:
        return max((number for end, number in self.seen if end <= moment), default=0)

    def most(self, moment: int) -> int:
        """Entries land in the order of their numbers: the first whose operation had not begun bounds all after it."""
        return next((i for i, start in enumerate(self.starts) if start > moment), len(self.starts))
