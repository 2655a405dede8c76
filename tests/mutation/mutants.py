"""Every way to delete, swap, truncate, roll back, duplicate or alter what a verdict is bound to, made from the files.

A mutant is a set of files with other contents. `meaning` says what an interface can know of a file: a change that
leaves it equal, such as another spelling of context.json, is not a mutant for that interface.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from mutation.scene import OTHER, REFERENCE, SET, Scene

from fair_distill.config import parse_config
from fair_distill.errors import FairDistillError
from fair_distill.files import parse_json, sha256, to_json
from fair_distill.gate.policy import read_context
from fair_distill.gate.predictions import Predictions

UNSIGNED = ("api", "judge", "explain", "table", "report", "publish")
SIGNED = ("enforce", "enforce by the base's policy", "promote")
WORKSPACE = ("judge", "explain", "table", "report", "publish", *SIGNED)
VERDICTS = tuple(name for name in (*UNSIGNED, *SIGNED) if name != "publish")
ALL = (*UNSIGNED, *SIGNED, "replay")
# The sections of params.yaml that make or evaluate the set. Others say what to do with it, and bind nothing.
MAKES = ("seed", "threads", "dataset", "data", "recipe", "distill", "diagnostics", "nearness", "evaluate")


@dataclass(frozen=True)
class Mutant:
    """Files with other contents; None where a file is deleted.

    Attributes
    ----------
    interfaces : that must not say pass; None: those that `meaning` gives
    """

    name: str
    files: Mapping[Path, bytes | None]
    interfaces: tuple[str, ...] | None = None


class Files:
    """The files of a scene, what each interface knows of them, and their honest contents."""

    def __init__(self, scene: Scene) -> None:
        w = scene.workspace
        self.scene = scene
        self.manifests = {name: w.set(name) / "manifest.json" for name in (SET, REFERENCE)}
        self.predictions = {name: w.predictions(name) for name in (SET, REFERENCE)}
        self.set = w.set(SET) / "set.parquet"
        self.provenance = w.set(SET) / "provenance.json"
        self.gate, self.train = w.split("gate"), w.split("train")
        self.promoted = w.context.with_name("promoted.parquet")
        self.attestations = {name: w.attestation(name) for name in (SET, REFERENCE)}
        registry = scene.registry
        of = {path: path.relative_to(registry).parts for path in registry.rglob("*") if path.is_file()}
        self.ledger = sorted(path for path, parts in of.items() if "ledger" in str(Path(*parts)))
        self.registered = {
            path: parts for path, parts in of.items() if parts[0] == "versions" and path not in self.ledger
        }
        paths = [*self.manifests.values(), *self.predictions.values(), self.set, self.provenance, self.gate, self.train]
        paths += [self.promoted, *self.attestations.values(), w.params, w.context, *self.ledger, *self.registered]
        self._known = self._readers()
        self.honest: dict[Path, bytes] = {path: path.read_bytes() for path in paths}

    def known_to(self, path: Path) -> tuple[str, ...]:
        """Return the interfaces for which a file is bound to something else that they read."""
        if path in self.ledger:
            # Nothing after the newest entry names it: a registry that ends earlier is an older registry.
            return () if path == self.ledger[-1] else ("publish", "promote", "replay")
        if path in self.registered:
            _, version, kind = self.registered[path][:3]
            readers = {
                (self.scene.version, "manifest.json"): ("publish", "replay"),
                (self.scene.version, "predictions"): ("publish", "promote", "replay"),
                (self.scene.earlier, "predictions"): ("promote",),
                (self.scene.earlier, "verdicts"): ("promote",),
            }
            return readers.get((version, kind), ())
        return self._known[path]

    def needed_by(self, path: Path) -> tuple[str, ...]:
        """Return the interfaces that cannot do without a file: in a CI job, manifests and digests suffice."""
        without = {self.set: ("publish", "promote", "report"), self.train: ()}
        return without.get(path, self.known_to(path))

    def _readers(self) -> dict[Path, tuple[str, ...]]:
        """Return the interfaces that read each file of the workspace."""
        w = self.scene.workspace
        compared = tuple(name for name in ALL if name != "publish")  # a reference is not published
        stored = tuple(name for name in ALL if name not in ("publish", "promote"))  # promotion asks the registry
        return (
            {self.gate: ALL, self.provenance: ("publish",), self.promoted: stored, w.context: stored}
            | {files[SET]: (*UNSIGNED, *SIGNED) for files in (self.manifests, self.predictions)}
            | {files[REFERENCE]: compared for files in (self.manifests, self.predictions)}
            | dict.fromkeys((self.set, self.train, w.params), WORKSPACE)
            | dict.fromkeys(self.attestations.values(), SIGNED)
        )

    def counts(self, mutant: Mutant, interface: str) -> bool:
        """Say whether an interface must not say pass about a mutant."""
        if mutant.interfaces is not None:
            return interface in mutant.interfaces
        if interface == "publish" and all(path in self.registered for path in mutant.files):
            # Publishing writes again what a registry lacks, and refuses what differs.
            return all(content is not None for content in mutant.files.values()) and self._differs(mutant, interface)
        return self._differs(mutant, interface)

    def _differs(self, mutant: Mutant, interface: str) -> bool:
        return any(
            interface in self.known_to(path)
            and (
                interface in self.needed_by(path)
                if content is None
                else self.meaning(path, content, interface) != self.meaning_of(path, interface)
            )
            for path, content in mutant.files.items()
        )

    def meaning_of(self, path: Path, interface: str) -> Any:
        return self.meaning(path, self.honest[path], interface)

    def meaning(self, path: Path, content: bytes, interface: str) -> Any:
        """Return what an interface can compare of a file; the bytes where the file cannot be read."""
        try:
            if path in self.predictions.values() and interface not in SIGNED:
                return _answered(content)
            if path == self.scene.workspace.params:
                return _making(content)
            if path == self.scene.workspace.context:
                return _context(content, self.scene)
            if path in self.attestations.values():
                return _envelope(content)
            if path == self.provenance:
                parse_json(content, name="provenance")
                return "readable"
        except (FairDistillError, pa.ArrowException, ValueError, TypeError, KeyError, IndexError, RecursionError):
            pass
        return content


@lru_cache(maxsize=64)
def _answered(content: bytes) -> Any:
    """What predictions are about: not the answers themselves, which only a signature or a lock file can bind.

    Rows and networks in another order, and other numbers for the same seeds, say the same.
    """
    table = Predictions.from_parquet(content)
    columns = dict(table.columns)
    names = np.array(table.networks)
    columns["network"] = np.argsort(np.argsort(names))[columns["network"]]
    columns["seed"] = np.unique(columns["seed"], return_inverse=True)[1]
    order = np.lexsort((columns["example"], columns["seed"], columns["network"]))
    said = ("example", "pair", "cluster", "label", "group", "seed", "network")
    return (
        table.set,
        table.split,
        table.classes,
        table.groups,
        table.attributes,
        table.attribute_names,
        tuple(sorted(table.networks)),
        {name: dict(options) for name, options in table.options.items()},  # 1 equals true, as it does for DVC
        tuple(columns[name][order].astype(np.int64).tobytes() for name in said),
    )


def parsed(text: str) -> Any:
    return json.loads(text) if text.startswith("{") else yaml.safe_load(text)


@lru_cache(maxsize=64)
def _making(content: bytes) -> Any:
    values = parse_config(parsed(content.decode())).model_dump(mode="json", by_alias=True)
    made = {key: values[key] for key in MAKES}
    return made | {"set": values["candidates"].get(SET), "reference": values["references"].get(REFERENCE)}


def _context(content: bytes, scene: Scene) -> Any:
    """What the files of a workspace can confirm: what is promoted and the split of the set's attempt.

    Only the registry knows the number of an attempt: `promote` asks it, and the verdict names the context by digest. A
    set whose attempt is not in the context is judged as the next one, which is stricter.
    """
    context = read_context(content)
    attempt = context.attempt
    return context.promoted, scene.split if attempt is None or attempt.set != scene.version else attempt.split


def _envelope(content: bytes) -> Any:
    value = json.loads(content)
    return value["payload"], value["payloadType"], to_json(value["signatures"])


def mutants(scene: Scene, files: Files, *, density: int) -> Iterator[Mutant]:
    """Generate every mutant; `density` is how many places of a large file are altered."""
    rng = np.random.default_rng(0)
    w = scene.workspace
    older = {path: parts for path, parts in files.registered.items() if parts[1] == scene.earlier}
    for path in files.manifests.values():
        other = (w.set(OTHER) / "manifest.json").read_bytes()
        rolled = next(path for path, parts in older.items() if parts[2] == "manifest.json").read_bytes()
        yield from _file(path, files, others={"another set's": other, "the earlier version's": rolled})
        yield from _json(path, files.honest[path], write=to_json)
        yield from _bytes(path, files.honest[path], rng, density)
    for name, path in files.predictions.items():
        others = {
            f"{other}'s": w.predictions(other).read_bytes() for other in (SET, OTHER, REFERENCE) if other != name
        } | {"the promoted version's": files.honest[files.promoted]}
        yield from _file(path, files, others=others)
        yield from _predictions(path, files.honest[path], rng, density)
        yield from _bytes(path, files.honest[path], rng, density)
    for path, others in {
        files.set: {"another set's": (w.set(OTHER) / "set.parquet").read_bytes()},
        files.gate: {
            "the tune split's": w.split("tune").read_bytes(),
            "the training split's": files.honest[files.train],
        },
        files.train: {"the tune split's": w.split("tune").read_bytes(), "the gate split's": files.honest[files.gate]},
        files.promoted: {f"{name}'s": w.predictions(name).read_bytes() for name in (SET, OTHER, REFERENCE)},
        files.provenance: {},
    }.items():
        yield from _file(path, files, others=others)
        yield from _bytes(path, files.honest[path], rng, density)
    yield from _predictions(files.promoted, files.honest[files.promoted], rng, density // 4)
    for name, path in files.attestations.items():
        others = {f"{other}'s": w.attestation(other).read_bytes() for other in (SET, OTHER, REFERENCE) if other != name}
        yield from _file(path, files, others=others)
        yield from _json(path, files.honest[path], write=to_json)
        yield from _bytes(path, files.honest[path], rng, density // 2)
    for path in (w.context,):
        yield from _file(path, files, others={})
        yield from _json(path, files.honest[path], write=to_json)
        yield from _bytes(path, files.honest[path], rng, density // 4)
    yield from _params(w.params, files.honest[w.params], files)
    for path in [*files.registered, *files.ledger]:
        if files.known_to(path):
            same = [
                other
                for other in files.honest
                if other != path
                and other.suffix == path.suffix
                and (other in files.registered or other in files.ledger)
            ]
            yield from _file(path, files, others={str(other.name)[:16]: files.honest[other] for other in same})
            yield from _bytes(path, files.honest[path], rng, max(2, density // 20))


def _label(path: Path) -> str:
    return "/".join(path.parts[-2:])


def _file(path: Path, files: Files, *, others: Mapping[str, bytes]) -> Iterator[Mutant]:
    where = _label(path)
    yield Mutant(f"{where}: deleted", {path: None})
    for name, content in others.items():
        if content != files.honest[path]:
            yield Mutant(f"{where}: swapped with {name}", {path: content})


def _bytes(path: Path, content: bytes, rng: np.random.Generator, count: int) -> Iterator[Mutant]:
    where = _label(path)
    yield Mutant(f"{where}: empty", {path: b""})
    yield Mutant(f"{where}: twice", {path: content + content})
    yield Mutant(f"{where}: zeros", {path: bytes(len(content))})
    for at in np.unique(rng.integers(1, len(content), max(count // 3, 1))):
        yield Mutant(f"{where}: truncated to {at} bytes", {path: content[:at]})
    for at in np.unique(rng.integers(0, len(content), count)):
        flipped = bytearray(content)
        flipped[at] ^= int(rng.integers(1, 256))
        yield Mutant(f"{where}: byte {at} altered", {path: bytes(flipped)})


def _altered(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield other values in place of one."""
    if isinstance(value, bool):
        yield "negated", not value
    elif isinstance(value, int | float):
        for other in (value + 1, value - 1, value * 2, 0, -value, value / 3, 10**400, 1e300):
            if other != value:
                yield (
                    (
                        f"{other}"
                        if other < 1e299
                        else "an integer of 401 digits"
                        if isinstance(other, int)
                        else "1e300"
                    ),
                    other,
                )
    elif isinstance(value, str):
        if len(value) == 64:
            yield "another digest", sha256(value.encode())
            yield "upper case", value.upper()
            yield "short digest", value[:63]
        yield "with a letter more", value + "x"
        yield "without its last letter", value[:-1]
        yield "empty", ""
        yield "with a newline", value + "\n"
    elif isinstance(value, list):
        yield "empty", []
        if value:
            yield "without the last", value[:-1]
            yield "without the first", value[1:]
            yield "the last twice", [*value, value[-1]]
        if len(value) > 1:
            yield "reversed", value[::-1]
    elif isinstance(value, dict):
        yield "empty", {}
        yield "with a key more", value | {"x": 1}
    yield "null", None
    for kind in ("x", 1, [], {}, True):
        if type(kind) is not type(value):
            yield f"the type {type(kind).__name__}", kind


def _walk(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _walk(value[key], (*at, key))


def _get(value: Any, at: tuple[Any, ...]) -> Any:
    for key in at:
        value = value[key]
    return value


def _set(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """Return a copy with another value at a place."""
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = _set(value[at[0]], at[1:], new)
    return copy


def _delete(value: Any, at: tuple[Any, ...]) -> Any:
    holder = _get(value, at[:-1])
    if isinstance(holder, dict):
        return _set(value, at[:-1], {key: item for key, item in holder.items() if key != at[-1]})
    return _set(value, at[:-1], [item for i, item in enumerate(holder) if i != at[-1]])


def values(value: Any) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Yield every alteration of a nested value: what it is, where, and the whole altered value."""
    for at in _walk(value):
        for what, new in _altered(_get(value, at)):
            yield what, at, _set(value, at, new)
        if at:
            yield "deleted", at, _delete(value, at)


def _json(path: Path, content: bytes, *, write: Callable[[Any], bytes]) -> Iterator[Mutant]:
    for what, at, new in values(json.loads(content)):
        yield Mutant(f"{_label(path)}: {'.'.join(map(str, at)) or 'all'} {what}", {path: write(new)})


def _params(path: Path, content: bytes, files: Files) -> Iterator[Mutant]:
    raw = yaml.safe_load(content)
    for what, at, new in values(raw):
        bound = at[:1] and (at[0] in MAKES or at[:2] in (("candidates", SET), ("references", REFERENCE)))
        if bound:
            text = json.dumps(new).encode()  # which is YAML, and parsed faster
            yield Mutant(f"params.yaml: {'.'.join(map(str, at))} {what}", {path: text})
    yield from _file(path, files, others={})


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _predictions(path: Path, content: bytes, rng: np.random.Generator, count: int) -> Iterator[Mutant]:
    where = _label(path)
    table = pq.read_table(io.BytesIO(content))
    (key,) = table.schema.metadata
    about = json.loads(table.schema.metadata[key])

    def described(new: Any) -> pa.Table:
        return table.replace_schema_metadata({key: to_json(new) if not isinstance(new, bytes) else new})

    def mutant(what: str, new: pa.Table) -> Mutant:
        return Mutant(f"{where}: {what}", {path: _parquet(new)})

    for what, at, new in values(about):
        yield mutant(f"metadata {'.'.join(map(str, at)) or 'all'} {what}", described(new))
    yield mutant("metadata removed", table.replace_schema_metadata(None))
    yield mutant("metadata under another key", table.replace_schema_metadata({b"other": table.schema.metadata[key]}))
    columns = {name: table[name].to_numpy().copy() for name in table.column_names}

    def with_columns(new: Mapping[str, Any]) -> pa.Table:
        arrays = [pa.array(new[field.name], field.type) for field in table.schema]
        return pa.table(arrays, schema=table.schema)

    rows = len(table)
    for name, column in columns.items():
        yield mutant(f"column {name} removed", table.drop_columns([name]))
        i = table.schema.get_field_index(name)
        yield mutant(f"column {name} as text", table.set_column(i, name, pa.array(column.astype(str))))
        nulls = pa.array(column, table.schema.field(name).type, mask=np.arange(rows) == 3)
        yield mutant(f"column {name} with a null", table.set_column(i, table.schema.field(name), nulls))
        yield mutant(f"column {name} constant", with_columns(columns | {name: np.full_like(column, column[0])}))
        yield mutant(f"column {name} reversed", with_columns(columns | {name: column[::-1]}))
        yield mutant(f"column {name} rolled by one", with_columns(columns | {name: np.roll(column, 1)}))
        for at in np.unique(rng.integers(0, rows, count // 3)):
            for what, new in (
                ("raised", column[at] + 1),
                ("lowered", column[at] - 1),
                ("negative", -7),
                ("large", 999),
            ):
                altered = column.copy()
                altered[at] = new
                yield mutant(f"column {name} {what} in row {at}", with_columns(columns | {name: altered}))
    yield mutant("a column more", table.append_column("extra", pa.array(np.zeros(rows))))

    def taken(what: str, at: Any) -> Mutant:
        return mutant(what, table.take(pa.array(at)))

    every = np.arange(rows)
    yield taken("no rows", every[:0])
    for at in np.unique(rng.integers(0, rows, count // 3)):
        yield taken(f"row {at} removed", np.delete(every, at))
        yield taken(f"row {at} twice", np.append(every, at))
        yield taken(f"row {at} in place of the next", np.where(every == (at + 1) % rows, at, every))
        yield taken(f"only {at} rows", every[:at])
    for name in ("example", "pair", "cluster", "label", "group", "seed", "network", "predicted"):
        for value in np.unique(columns[name])[: max(count // 3, 2)]:
            yield taken(f"without {name} {value}", every[columns[name] != value])
        for value in np.unique(columns[name])[:3]:
            yield taken(f"{name} {value} twice", np.concatenate([every, every[columns[name] == value]]))
    wrong = columns["predicted"] != columns["label"]
    hard = np.unique(columns["example"][wrong])
    for share in (0.1, 0.25, 0.5, 1.0):
        dropped = hard[: int(len(hard) * share)]
        yield taken(f"without the hardest {len(dropped)} examples", every[~np.isin(columns["example"], dropped)])


def steps(scene: Scene, files: Files) -> Iterator[Mutant]:
    """Generate consistent changes of two or more files: the digests agree, so another check must notice."""
    w = scene.workspace
    yield from _consistent_manifests(scene, files)
    table = Predictions.from_parquet(files.honest[files.predictions[SET]])
    reference = Predictions.from_parquet(files.honest[files.predictions[REFERENCE]])
    raw = yaml.safe_load(files.honest[w.params])

    def both(change: Callable[[Predictions], Predictions]) -> dict[Path, bytes | None]:
        return {
            files.predictions[SET]: change(table).to_parquet(),
            files.predictions[REFERENCE]: change(reference).to_parquet(),
        }

    def params(**evaluate: Any) -> dict[Path, bytes | None]:
        return {w.params: json.dumps(raw | {"evaluate": raw["evaluate"] | evaluate}).encode()}

    based = ("api", "enforce by the base's policy", *SIGNED)
    for network in range(2):
        rest = [one for i, one in enumerate(raw["evaluate"]["networks"]) if i != network]
        files_of = both(lambda t, n=network: without_network(t, n))
        name = table.networks[network]
        yield Mutant(f"two steps: no {name} in predictions and params", files_of | params(networks=rest), based)
    for seed in range(3):
        files_of = both(lambda t, s=seed: rows(t, t.columns["seed"] != s))
        yield Mutant(f"two steps: no seed {seed} in predictions and params", files_of | params(seeds=2), based)
    wider = [one | ({"width": 1} if i == 0 else {}) for i, one in enumerate(raw["evaluate"]["networks"])]
    options = {name: dict(of) for name, of in table.options.items()}
    options[table.networks[0]]["width"] = 1
    files_of = both(lambda t: replace(t, options=options))
    yield Mutant("two steps: another width in predictions and params", files_of | params(networks=wider), based)
    hard = np.unique(table.columns["example"][table.columns["predicted"] != table.columns["label"]])
    everyone = tuple(name for name in ALL if name != "replay")
    for share in (0.1, 0.3, 0.6, 1.0):
        dropped = hard[: max(1, int(len(hard) * share))]
        easier = both(lambda t, d=dropped: rows(t, ~np.isin(t.columns["example"], d)))
        renumbered = both(lambda t, d=dropped: renumber(rows(t, ~np.isin(t.columns["example"], d))))
        for what, files_of in (("dropped", easier), ("dropped and others renumbered", renumbered)):
            text = f"two steps: the hardest {len(dropped)} examples {what}"
            yield Mutant(text, files_of, everyone)
            # Without the file of the split, the policy's exam or the evaluator's signature must notice.
            yield Mutant(f"{text}, no gate split", files_of | {files.gate: None}, tuple(set(everyone) - {"api"}))
    for example in hard[:20]:
        kept = both(lambda t, e=example: rows(t, t.columns["example"] != e))
        yield Mutant(f"two steps: example {example} dropped from both", kept, everyone)
    flipped = both(lambda t: replace(t, columns=t.columns | {"predicted": t.columns["label"]}))
    yield Mutant("two steps: perfect answers for both", flipped, SIGNED)
    perfect = replace(table, columns=table.columns | {"predicted": table.columns["label"]}).to_parquet()
    statement = stranger(scene, perfect)
    forged = {files.predictions[SET]: perfect, files.attestations[SET]: statement}
    yield Mutant("two steps: perfect answers, signed by a stranger", forged, SIGNED)


def rows(table: Predictions, keep: Any) -> Predictions:
    return replace(table, columns={name: column[keep] for name, column in table.columns.items()})


def renumber(table: Predictions) -> Predictions:
    numbers = np.unique(table.columns["example"], return_inverse=True)[1]
    return replace(table, columns=table.columns | {"example": numbers})


def without_network(table: Predictions, network: int) -> Predictions:
    kept = rows(table, table.columns["network"] != network)
    name = table.networks[network]
    return replace(
        kept,
        networks=tuple(one for one in table.networks if one != name),
        columns=kept.columns | {"network": kept.columns["network"] - (kept.columns["network"] > network)},
        options={key: value for key, value in table.options.items() if key != name},
    )


def stranger(scene: Scene, predictions: bytes) -> bytes:
    from fair_distill.statements import Statement

    return scene.strange(Statement("predictions", scene.config.dataset, scene.version, sha256(predictions)))


def _consistent_manifests(scene: Scene, files: Files) -> Iterator[Mutant]:
    """Alter one field of a manifest, and make the predictions name the new digest."""
    for name, path in files.manifests.items():
        table = Predictions.from_parquet(files.honest[files.predictions[name]])
        content = json.loads(files.honest[path])
        workspace = tuple(one for one in WORKSPACE if name == SET or one != "publish")
        for what, at, new in values(content):
            manifest = to_json(new)
            if _plain(new) == _plain(content):
                continue  # a list that reads the same from both ends; a setting without a value is one that is absent
            predictions = replace(table, set=sha256(manifest)).to_parquet()
            yield Mutant(
                f"two steps: manifest of {name}, {'.'.join(map(str, at)) or 'all'} {what}",
                {path: manifest, files.predictions[name]: predictions},
                SIGNED
                if name == REFERENCE and _stated_nowhere(at)
                else (*workspace, "api")
                if _repeated(at)
                else workspace,
            )


def _plain(manifest: Any) -> bytes:
    """A manifest in which settings without a value are left out."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("params"), dict):
        return to_json(manifest)
    return to_json(manifest | {"params": _without_nulls(manifest["params"])})


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def _repeated(at: tuple[Any, ...]) -> bool:
    """Say whether predictions or the policy's exam repeat a field of the manifest, so that the API can compare it."""
    if at[:2] == ("card", "classes"):
        return True
    shown = ("steps", "batch_size", "learning_rate", "momentum", "weight_decay", "augment")
    return at[:2] == ("card", "recipe") and len(at) > 2 and at[2] in shown


def _stated_nowhere(at: tuple[Any, ...]) -> bool:
    """Say whether nothing else in the workspace states a field of the manifest of a reference without a set.parquet.

    The scaling of pixels comes from all images, and all real examples do not depend on `ipc`.
    """
    return at[:3] in (("card", "recipe", "mean"), ("card", "recipe", "std")) or at[:2] == ("params", "ipc")
