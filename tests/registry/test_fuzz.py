"""Every field of every JSON document of a registry becomes something else, with digests that agree all the same.

Whoever may write to a store can write that. Each call then answers, or refuses in one line; it never fails otherwise.
A sample runs here; FAIR_DISTILL_CASES=13500 and more runs that many calls.
"""

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from small_registry import NAME, NOW, Package, local_registry, package, promote, publish

from fair_distill.errors import FairDistillError
from fair_distill.files import md5, sha256, to_json
from fair_distill.registry import client
from fair_distill.registry.actor import Actor
from fair_distill.registry.approvals import approve
from fair_distill.registry.entry import entry_key
from fair_distill.registry.export.croissant import croissant
from fair_distill.registry.export.dataset_card import dataset_card
from fair_distill.registry.export.evidence_bundle import evidence
from fair_distill.registry.layout import evidence_key, manifest_key, object_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.pins import outdated, pin, read_pins
from fair_distill.registry.release import publish as publish_release
from fair_distill.registry.verify import log, verify
from fair_distill.statements import Statement

CASES = int(os.environ.get("FAIR_DISTILL_CASES", "150"))
REFERENCE = f"{NAME}@production"
OTHER = package(2)
WRONG: list[Any] = [
    None,
    True,
    0,
    -1,
    5,
    10**39,
    2**63 - 1,
    0.5,
    "",
    "text",
    "\x1b[2J\n\u202e",
    [],
    [[]],
    {},
    {"a": 1},
    "0" * 64,
    [1, "a", None],
]
MISSING = object()


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value in a document, and to the document itself."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*at, key))


def changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return {} if new is MISSING else new
    value = copy.deepcopy(value)
    inner = value
    for key in at[:-1]:
        inner = inner[key]
    if new is MISSING:
        del inner[at[-1]]
    else:
        inner[at[-1]] = new
    return value


class Chain:
    """A registry in a folder that was published as it should be, and can be written anew with one document changed."""

    def __init__(self, root: Path, made: Package) -> None:
        self.root = root
        store = local_registry(root)
        publish(store, made)
        promote(store, made)
        self.files = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        self.made = made
        envelope = {
            "payload": "e30=",
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"keyid": "k", "sig": "s"}],
        }
        self.documents: dict[str, Any] = {
            "manifest": json.loads(made.manifest.to_json()),
            "card": made.manifest.card.to_dict() | {"recipe": asdict(made.manifest.card.recipe)},
            "verdict": json.loads(made.verdict_bytes),
            "provenance": json.loads(made.provenance),
            "entry": json.loads(self.files[entry_key(NAME, 1)]),
            "last entry": json.loads(self.files[entry_key(NAME, 4)]),
            "envelope": envelope,
        }
        self.documents["card"] = json.loads(to_json(self.documents["card"]))

    def write(self, name: str, document: Any) -> None:
        """Write the registry with a document in place of the one of that name, and all digests along the chain."""
        for path in self.root.rglob("*"):
            if path.is_file():
                path.unlink()
        content = to_json(document)
        manifest, verdict, provenance = self.made.manifest.to_json(), self.made.verdict_bytes, self.made.provenance
        files = {file.path: self.made.files[file.path] for file in self.made.manifest.files}
        if name == "manifest":
            manifest = content
        if name == "card":
            manifest, files = self._with_card(document)
        version = sha256(manifest)
        verdict = content if name == "verdict" else to_json({**json.loads(verdict), "set": version})
        if name == "verdict" and isinstance(document, dict) and document.get("set") == self.made.version:
            verdict = to_json({**document, "set": version})
        provenance = content if name == "provenance" else provenance
        put = self._put
        for file in files.values():
            put(object_key(md5(file)), file)
        put(manifest_key(version), manifest)
        put(evidence_key(version, "verdicts", sha256(verdict)), verdict)
        put(evidence_key(version, "provenance", sha256(provenance)), provenance)
        put(evidence_key(version, "predictions", sha256(self.made.predictions)), self.made.predictions)
        if name == "envelope":
            put(evidence_key(version, "statements", sha256(content)), content)
        prev = "0" * 64
        for number in range(1, 5):
            entry = json.loads(self.files[entry_key(NAME, number)])
            if (name, number) in (("entry", 1), ("last entry", 4)):
                entry = document
            if isinstance(entry, dict):
                entry = {**entry, "prev": prev} if "prev" in entry else entry
                entry = {**entry, "version": version} if entry.get("version") == self.made.version else entry
                if entry.get("verdict") == sha256(self.made.verdict_bytes):
                    entry = {**entry, "verdict": sha256(verdict)}
                body = {key: item for key, item in entry.items() if key != "seal"}
                entry = {**body, "seal": sha256(to_json(body))}
            prev = sha256(to_json(entry))
            put(entry_key(NAME, number), to_json(entry))

    def _with_card(self, card: Any) -> tuple[bytes, dict[str, bytes]]:
        """The card is in the manifest and in the file's metadata, the same in both."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(pa.BufferReader(self.made.files["set.parquet"]))
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({b"fair_distill": to_json(card)}), sink)
        content = bytes(sink.getvalue())
        file = {"path": "set.parquet", "size": len(content), "sha256": sha256(content), "md5": md5(content)}
        manifest = json.loads(self.made.manifest.to_json())
        return to_json({**manifest, "card": card, "files": [file]}), {"set.parquet": content}

    def _put(self, key: str, content: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _card(registry: str) -> None:
    found = client.look_up(REFERENCE, registry=registry)
    dataset_card(found)
    to_json(croissant(found, base=registry))


def _pin(registry: str) -> None:
    found = client.look_up(REFERENCE, registry=registry)
    lock = Path(registry).with_suffix(".lock")
    pin(lock, REFERENCE, found.version, registry=registry)
    outdated(read_pins(lock))


def _approve(registry: str) -> None:
    store = local_registry(Path(registry))
    entries = read_ledger(store, NAME)
    version = next((entry.version for entry in entries), "0" * 64)
    approve(store, NAME, version, policy="0" * 64, sign=lambda statement: statement.to_json())


def _publish(registry: str) -> None:
    store = local_registry(Path(registry))
    publish_release(store, NAME, OTHER.manifest, OTHER.files, actor=Actor("ada", NOW, "n"))


CALLS: dict[str, Callable[[str], object]] = {
    "load": lambda registry: client.load(REFERENCE, registry=registry),
    "look up v1": lambda registry: client.look_up(f"{NAME}@v1", registry=registry, as_of="2026-03-03"),
    "verify": lambda registry: verify(NAME, registry=registry),
    "log": lambda registry: [asdict(entry) for entry in log(NAME, registry=registry)],
    "card": _card,
    "provenance": lambda registry: client.provenance(REFERENCE, registry=registry),
    "evidence": lambda registry: evidence(REFERENCE, registry=registry),
    "pin": _pin,
    "approve": _approve,
    "publish": _publish,
}


def cases(chain: Chain) -> list[tuple[str, tuple[Any, ...], Any]]:
    """Return every document, place and wrong value, in an order that a sample is spread over."""
    found = [
        (name, at, new)
        for name, document in chain.documents.items()
        for at in places(document)
        for new in (*WRONG, MISSING)
    ]
    random.Random(0).shuffle(found)
    return found


def test_no_document_of_a_registry_makes_a_reader_fail_otherwise_than_by_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIR_DISTILL_CACHE", "")
    chain = Chain(tmp_path / "registry", package(1))
    calls = refused = 0
    faults: dict[str, str] = {}
    for name, at, new in cases(chain):
        if calls >= CASES:
            break
        chain.write(name, changed(chain.documents[name], at, new))
        for call, run in CALLS.items():
            calls += 1
            try:
                run(str(chain.root))
            except FairDistillError as error:
                refused += 1
                if "\n" in str(error):
                    faults.setdefault(f"{call}: two lines", f"{name} {at} {new!r}: {error}")
            except Exception as error:
                faults.setdefault(f"{call}: {type(error).__name__}: {error}"[:100], f"{name} {at} {new!r}")
    print(f"{calls} calls, {refused} refused, {len(faults)} kinds of fault")
    assert not faults, json.dumps(faults, indent=1)
    assert refused > calls / 3


def test_a_statement_with_wrong_fields_is_read_or_refused() -> None:
    statement = json.loads(Statement("head", NAME, "0" * 64, "1").to_json())
    for at in places(statement):
        for new in (*WRONG, MISSING):
            with suppress(FairDistillError):
                Statement.from_json(to_json(changed(statement, at, new)), name="it")
