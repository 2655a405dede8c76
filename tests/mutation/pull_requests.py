"""Alter everything that `gate pull-request` reads, one pull request for each mutant, and print what passes.

python -m mutation.pull_requests [--count N] [--jobs N] [--least N]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import md5 as hashlib_md5
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mutation.interfaces import PASSES, quick
from mutation.mutants import MAKES, _envelope, values
from mutation.run import Table, change
from mutation.scene import OTHER, REFERENCE, SET, Scene
from small_repository import commit, git
from small_workspace import REPOSITORY

from fair_distill.config import load_config, load_gate, parse_config
from fair_distill.config.yaml_dialect import YamlError, parse_yaml
from fair_distill.errors import FairDistillError
from fair_distill.files import sha256, to_json
from fair_distill.gate.predictions import Predictions
from fair_distill.stages.pull_request import PullRequest, judge_pull_request
from fair_distill.statements import Statement
from fair_distill.versioning.dvc_graph import Stage, read_graph
from fair_distill.versioning.dvc_remote import open_remote
from fair_distill.workspace import Workspace

INTERFACE = "pull request"
NOW = date(2026, 11, 1)
# The stages before the verdict on the set, by which the lock is judged.
PATH = ("prepare", "validate", f"distill@{SET}", f"references@{REFERENCE}", f"evaluate@{SET}", f"evaluate@{REFERENCE}")
SPLIT = "artifacts/prepared/gate.arrow"
SETS = tuple(f"artifacts/sets/{name}" for name in (SET, REFERENCE, OTHER))
PREDICTIONS = tuple(f"artifacts/predictions/{name}.parquet" for name in (SET, REFERENCE, OTHER))
# What the job fetches.
FETCHED = (SPLIT, *SETS[:2], *PREDICTIONS[:2])


@dataclass(frozen=True)
class Mutant:
    """A pull request: files of its commit and objects of the remote with other contents; None: deleted."""

    name: str
    head: Mapping[str, bytes | None] = field(default_factory=dict)
    objects: Mapping[Path, bytes | None] = field(default_factory=dict)


class Proposal:
    """An honest, attested pull request to a repository with the same files, and its DVC remote."""

    def __init__(self, folder: Path) -> None:
        self.scene = Scene(folder / "scene")
        root = self.scene.root
        self.folder, self.checkout, self.remote = folder, folder / "checkout", folder / "remote"
        shutil.copy(REPOSITORY / "dvc.yaml", root / "dvc.yaml")
        params = yaml.safe_load((root / "params.yaml").read_bytes())
        self.graph: Mapping[str, Stage] = read_graph(root / "dvc.yaml", params)[0]
        self.lock = self._lock(params)
        (root / "dvc.lock").write_text(yaml.safe_dump(self.lock, sort_keys=False))
        names = ["params.yaml", "dvc.yaml", "dvc.lock", "context.json"]
        names += [f"attestations/{name}.json" for name in (SET, REFERENCE, OTHER)]
        self.head = {name: (root / name).read_bytes() for name in names}
        for name in (*names, "promoted.parquet"):
            (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, self.checkout / name)
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], cwd=self.checkout, check=True)
        commit(self.checkout, "base")
        self.policy, self.config = load_gate(self.checkout / "params.yaml"), load_config(self.checkout / "params.yaml")

    def push(self, content: bytes, suffix: str = "") -> str:
        """Write an object of the remote; return its MD5 as dvc.lock names it."""
        digest = hashlib_md5(content, usedforsecurity=False).hexdigest() + suffix
        path = self.object(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return digest

    def object(self, md5: str) -> Path:
        return self.remote / "files" / "md5" / md5[:2] / md5[2:]

    def push_folder(self, members: Mapping[str, bytes]) -> dict[str, Any]:
        listing = [{"md5": self.push(content), "relpath": name} for name, content in sorted(members.items())]
        md5 = self.push(json.dumps(listing, sort_keys=True).encode(), ".dir")
        return {"hash": "md5", "md5": md5, "size": sum(map(len, members.values())), "nfiles": len(members)}

    def push_file(self, content: bytes) -> dict[str, Any]:
        return {"hash": "md5", "md5": self.push(content), "size": len(content)}

    def members(self, folder: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.scene.root / folder).iterdir())}

    def _lock(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what DVC records, and push the files. Outputs that the scene lacks have their path as content."""
        outs: dict[str, dict[str, Any]] = {}
        for stage in self.graph.values():
            for out in stage.outs:
                path = self.scene.root / out
                content = path.read_bytes() if path.is_file() else out.encode()
                outs[out] = self.push_folder(self.members(out)) if path.is_dir() else self.push_file(content)
        stages = {}
        for stage in self.graph.values():
            stages[stage.name] = {
                "cmd": stage.cmd,
                "deps": [{"path": dep, **(outs.get(dep) or self._folder(dep, outs))} for dep in stage.deps],
                "params": {"params.yaml": {key: _lookup(params, key) for key in stage.params}},
                "outs": [{"path": out, **outs[out]} for out in stage.outs],
            }
        return {"schema": "2.0", "stages": deepcopy(stages)}

    def _folder(self, dep: str, outs: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """Return what DVC records of a folder of outputs that are files; of others nothing on the path reads it."""
        inside = {out.removeprefix(f"{dep}/"): entry for out, entry in outs.items() if out.startswith(f"{dep}/")}
        listing = [{"md5": entry["md5"], "relpath": name} for name, entry in sorted(inside.items())]
        md5 = hashlib_md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
        return {"hash": "md5", "md5": md5, "size": sum(e["size"] for e in inside.values()), "nfiles": len(inside)}

    def meaning_of_lock(self, lock: Any) -> Any:
        """Return what the path to the verdict reads of a lock; a change that leaves it equal is no mutant.

        Nothing reads size and number of the files in a folder that several stages fill: its MD5 has the files' MD5s.
        Nothing reads the content of an output which no stage on the path reads and which the job does not fetch, such
        as a picture; it must be there and named as DVC names it.
        """
        read = {dep for name in PATH for dep in self.graph[name].deps}
        inside = {dep for dep in read if any(out.startswith(f"{dep}/") for out in self._outs())}
        return [lock["schema"]] + [
            (
                record["cmd"],
                [record["params"]["params.yaml"][key] for key in self.graph[name].params],
                [_entry(record["deps"], dep, counts=dep not in inside) for dep in self.graph[name].deps],
                [
                    _entry(record["outs"], out, counts=True)
                    if self._is_read(out, read)
                    else _named(record["outs"], out)
                    for out in self.graph[name].outs
                ],
            )
            for name in PATH
            for record in [lock["stages"][name]]
        ]

    def _outs(self) -> list[str]:
        return [out for stage in self.graph.values() for out in stage.outs]

    @staticmethod
    def _is_read(out: str, read: set[str]) -> bool:
        return out in FETCHED or any(out == dep or out.startswith(f"{dep}/") for dep in read)

    def counts(self, mutant: Mutant) -> bool:
        """Say whether a mutant says something else; where a file cannot be read, it does."""
        names = ["params.yaml"] if "params.yaml" in mutant.head else list(mutant.head)
        return bool(mutant.objects) or any(
            content is None or self._meaning(name, content) != self._meaning(name, self.head[name])
            for name, content in ((name, mutant.head[name]) for name in names)
        )

    def _meaning(self, name: str, content: bytes) -> Any:
        try:
            if name == "dvc.lock":
                return self.meaning_of_lock(_parsed(content))
            if name == "params.yaml":
                return _making(content)
            if name.startswith("attestations/"):
                return _envelope(content)
        except (FairDistillError, YamlError, ValueError, TypeError, LookupError, AttributeError, StopIteration):
            pass
        return content

    def commit(self, files: Mapping[str, bytes | None]) -> str:
        """Return a commit with the honest files and these, written without a checkout."""
        stream = [b"commit refs/heads/head\ncommitter t <t@example.org> 0 +0000\ndata 4\nhead\ndeleteall\n"]
        for name, content in {**self.head, **files}.items():
            if content is not None:
                stream.append(b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(content), content))
        subprocess.run(
            ["git", "fast-import", "--quiet", "--force"], cwd=self.checkout, input=b"".join(stream), check=True
        )
        return git(self.checkout, "rev-parse", "refs/heads/head")

    def outcome(self, mutant: Mutant) -> str:
        """Return the outcome of the verdict on a pull request."""
        honest = {path: path.read_bytes() if path.exists() else None for path in mutant.objects}
        change(mutant.objects)
        try:
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                verdict = judge_pull_request(
                    PullRequest.open(Workspace(self.checkout), self.commit(mutant.head)),
                    SET,
                    policy=self.policy,
                    base_config=self.config,
                    remote=open_remote(self.checkout, str(self.remote)),
                    folder=Path(folder),
                    floor=None,
                    now=NOW,
                )
                return verdict.outcome
        finally:
            change(honest)


def _parsed(content: bytes) -> Any:
    return json.loads(content) if content.startswith(b"{") else parse_yaml(content.decode())


def _lookup(params: Mapping[str, Any], key: str) -> Any:
    value: Any = params
    for name in key.split("."):
        value = value[name]
    return value


def _entry(entries: Any, path: str, *, counts: bool) -> Any:
    entry = next(entry for entry in entries if entry["path"] == path)
    return entry["hash"], entry["md5"], *((entry["size"], entry.get("nfiles")) if counts else ())


def _named(entries: Any, path: str) -> Any:
    """Say whether an entry has a hash, an MD5 and a size, whatever they are."""
    entry = next(entry for entry in entries if entry["path"] == path)
    digest = str(entry["md5"]).removesuffix(".dir")
    return entry["hash"], len(digest) == 32 and set(digest) <= set("0123456789abcdef"), type(entry["size"]) is int


def _making(content: bytes) -> dict[str, Any]:
    """What params.yaml says about how the set and the reference were made and evaluated; 1 equals true, as for DVC."""
    said = parse_config(_parsed(content)).model_dump(mode="json", by_alias=True)
    made = {key: said[key] for key in ("engine", "validate", *MAKES) if key in said}
    return made | {"set": said["candidates"].get(SET), "reference": said["references"].get(REFERENCE)}


def mutants(proposal: Proposal) -> dict[str, list[Mutant]]:
    """Return every mutant by kind."""
    kinds: dict[str, Callable[[Proposal], Iterator[Mutant]]] = {
        "dvc.lock: files": _lock_files,
        "dvc.lock: swaps": _lock_swaps,
        "dvc.lock: params": _lock_params,
        "dvc.lock: bytes": lambda p: _bytes(p, "dvc.lock", 60),
        "params.yaml": _params,
        "attestations": _attestations,
        "remote": _objects,
        "dvc.yaml": lambda p: _bytes(p, "dvc.yaml", 60),
        "two steps": _steps,
        "two steps: params": _params_and_lock,
    }
    return {name: list(kind(proposal)) for name, kind in kinds.items()}


def _text(value: Any) -> bytes:
    return json.dumps(value).encode()  # which is YAML


def _lock_files(proposal: Proposal) -> Iterator[Mutant]:
    """Alter and delete every field but the params, and every record."""
    for name in PATH:
        record = proposal.lock["stages"][name]
        about = {key: record[key] for key in ("cmd", "deps", "outs")}
        for what, at, new in values(about):
            yield _locked(proposal, f"{name}: {'.'.join(map(str, at)) or 'all'} {what}", {name: {**record, **new}}
                          if isinstance(new, dict) and at else {name: new})  # fmt: skip
        for key in ("cmd", "deps", "outs", "params"):
            yield _locked(proposal, f"{name}: {key} deleted", {name: {k: v for k, v in record.items() if k != key}})
        for key in ("deps", "outs"):
            for i, entry in enumerate(record[key]):
                for at, digit in enumerate(entry["md5"][:32:8]):
                    other = "0" if digit != "0" else "1"
                    md5 = entry["md5"][: 8 * at] + other + entry["md5"][8 * at + 1 :]
                    what = f"{name}: digit {8 * at} of {key}.{i}"
                    yield _locked(proposal, what, {name: _with_entry(record, key, i, {**entry, "md5": md5})})
        less = {key: value for key, value in proposal.lock["stages"].items() if key != name}
        yield Mutant(f"dvc.lock: {name} deleted", {"dvc.lock": _text({**proposal.lock, "stages": less})})
        for other, value in proposal.lock["stages"].items():
            if other != name:
                yield _locked(proposal, f"{name}: record of {other}", {name: value})
    for what, at, new in values({"schema": "2.0", "stages": {}}):
        if at:
            whole = {**new, **({"stages": proposal.lock["stages"]} if new.get("stages") == {} else {})}
            yield Mutant(f"dvc.lock: {at[0]} {what}", {"dvc.lock": _text(whole)})


def _locked(proposal: Proposal, what: str, stages: Mapping[str, Any]) -> Mutant:
    lock = {**proposal.lock, "stages": {**proposal.lock["stages"], **stages}}
    return Mutant(f"dvc.lock: {what}", {"dvc.lock": _text(lock)})


def _with_entry(record: Mapping[str, Any], key: str, i: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**record, key: [*record[key][:i], entry, *record[key][i + 1 :]]}


def _outputs(proposal: Proposal) -> dict[str, dict[str, Any]]:
    return {entry["path"]: entry for record in proposal.lock["stages"].values() for entry in record["outs"]}


def _lock_swaps(proposal: Proposal) -> Iterator[Mutant]:
    """Let one entry of one record name the content of another output: of another set, and of any other kind."""
    for name in PATH:
        record = proposal.lock["stages"][name]
        for key in ("deps", "outs"):
            for i, entry in enumerate(record[key]):
                for path, other in _outputs(proposal).items():
                    if other["md5"] != entry["md5"]:
                        new = {**other, "path": entry["path"]}
                        what = f"{name}: {key}.{i} names {path}"
                        yield _locked(proposal, what, {name: _with_entry(record, key, i, new)})


def _lock_params(proposal: Proposal) -> Iterator[Mutant]:
    for name in PATH:
        record = proposal.lock["stages"][name]
        for what, at, new in values(record["params"]):
            text = f"{name}: params {'.'.join(map(str, at)) or 'all'} {what}"
            yield _locked(proposal, text, {name: {**record, "params": new}})


def _bytes(proposal: Proposal, name: str, count: int) -> Iterator[Mutant]:
    content, rng = proposal.head[name], np.random.default_rng(0)
    contents: dict[str, bytes | None] = {
        "deleted": None,
        "empty": b"",
        "twice": content + content,
        "zeros": bytes(len(content)),
        "with a newline": content + b"\n",
        "with Windows line ends": content.replace(b"\n", b"\r\n"),
    }
    contents |= {
        f"truncated to {at} bytes": content[:at] for at in np.unique(rng.integers(1, len(content), count // 3))
    }
    for at in np.unique(rng.integers(0, len(content), count)):
        flipped = bytearray(content)
        flipped[at] ^= int(rng.integers(1, 256))
        contents[f"byte {at} altered"] = bytes(flipped)
    for what, new in contents.items():
        yield Mutant(f"{name}: {what}", {name: new})


def _bound(raw: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    for what, at, new in values(raw):
        ours = at[:2] in (("candidates", SET), ("references", REFERENCE))
        if at and (ours or at[0] in ("engine", "validate", *MAKES)):
            yield what, at, new


def _params(proposal: Proposal) -> Iterator[Mutant]:
    yield from _bytes(proposal, "params.yaml", 30)
    for what, at, new in _bound(proposal.scene.params):
        yield Mutant(f"params.yaml: {'.'.join(map(str, at))} {what}", {"params.yaml": _text(new)})


def _attestations(proposal: Proposal) -> Iterator[Mutant]:
    for name in (SET, REFERENCE):
        file = f"attestations/{name}.json"
        yield from _bytes(proposal, file, 30)
        for what, at, new in values(json.loads(proposal.head[file])):
            yield Mutant(f"{file}: {'.'.join(map(str, at)) or 'all'} {what}", {file: to_json(new)})
        for other in (SET, REFERENCE, OTHER):
            if other != name:
                yield Mutant(f"{file}: swapped with {other}'s", {file: proposal.head[f"attestations/{other}.json"]})


def _objects(proposal: Proposal) -> Iterator[Mutant]:
    """Truncate, alter, swap and delete every object that the job fetches."""
    outputs, rng = _outputs(proposal), np.random.default_rng(0)
    fetched = {path: proposal.object(outputs[path]["md5"]) for path in FETCHED}
    for folder in SETS[:2]:
        for name, content in proposal.members(folder).items():
            fetched[f"{folder}/{name}"] = proposal.object(hashlib_md5(content, usedforsecurity=False).hexdigest())
    others = {**fetched, **{path: proposal.object(outputs[path]["md5"]) for path in (SETS[2], PREDICTIONS[2])}}
    for path, at in fetched.items():
        content = at.read_bytes()
        contents: dict[str, bytes | None] = {
            "deleted": None,
            "empty": b"",
            "twice": content + content,
            "zeros": bytes(len(content)),
            "with a byte more": content + b"\0",
        }
        contents |= {f"truncated to {n} bytes": content[:n] for n in np.unique(rng.integers(1, len(content), 5))}
        for place in np.unique(rng.integers(0, len(content), 10)):
            flipped = bytearray(content)
            flipped[place] ^= int(rng.integers(1, 256))
            contents[f"byte {place} altered"] = bytes(flipped)
        for other, place in others.items():
            contents[f"swapped with {other}"] = place.read_bytes()
        for what, new in contents.items():
            if new != content:
                yield Mutant(f"remote: {path} {what}", objects={at: new})


def _relocked(proposal: Proposal, entries: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return the lock that names other contents for these paths, wherever it names them."""
    lock = deepcopy(proposal.lock)
    for record in lock["stages"].values():
        for key in ("deps", "outs"):
            record[key] = [
                {**entries[entry["path"]], "path": entry["path"]} if entry["path"] in entries else entry
                for entry in record[key]
            ]
    split = {Path(path).name: entries[path] for path in entries if path.startswith("artifacts/prepared/")}
    if split:  # the one folder that the path to the verdict reads and several outputs fill
        outs = {entry["path"]: entry for entry in lock["stages"]["prepare"]["outs"]}
        (dep,) = lock["stages"]["validate"]["deps"]
        dep |= proposal._folder(dep["path"], outs)
    return _text(lock)


def _steps(proposal: Proposal) -> Iterator[Mutant]:
    """Yield changes in which the records agree with each other, and with the remote."""
    outputs, scene = _outputs(proposal), proposal.scene
    statements = {name: proposal.head[f"attestations/{name}.json"] for name in (SET, REFERENCE, OTHER)}
    for path in FETCHED:
        for other, entry in outputs.items():
            if entry["md5"] != outputs[path]["md5"]:
                lock = _relocked(proposal, {path: entry})
                yield Mutant(f"two steps: {path} is {other} everywhere", {"dvc.lock": lock})
        for size in (0, 1, -1, 2**40, 10**30, outputs[path]["size"] + 1, outputs[path]["size"] - 1):
            lock = _relocked(proposal, {path: {**outputs[path], "size": size}})
            yield Mutant(f"two steps: {path} has {size} bytes everywhere", {"dvc.lock": lock})
        for at, digit in enumerate(outputs[path]["md5"][:32]):
            md5 = outputs[path]["md5"][:at] + ("0" if digit != "0" else "1") + outputs[path]["md5"][at + 1 :]
            lock = _relocked(proposal, {path: {**outputs[path], "md5": md5}})
            yield Mutant(f"two steps: digit {at} of {path} altered everywhere", {"dvc.lock": lock})
    for first, second in ((SET, REFERENCE), (SET, OTHER), (REFERENCE, OTHER)):
        signed: dict[str, bytes | None] = {
            f"attestations/{first}.json": statements[second],
            f"attestations/{second}.json": statements[first],
        }
        answers, sets = ([f"artifacts/{kind}" for kind in (
            f"predictions/{first}.parquet", f"predictions/{second}.parquet")],
            [f"artifacts/sets/{first}", f"artifacts/sets/{second}"])  # fmt: skip
        swapped = {answers[0]: outputs[answers[1]], answers[1]: outputs[answers[0]]}
        moved = {sets[0]: outputs[sets[1]], sets[1]: outputs[sets[0]]}
        for what, entries in (
            ("predictions", swapped),
            ("sets", moved),
            ("sets and predictions", {**swapped, **moved}),
        ):
            lock = _relocked(proposal, entries)
            text = f"two steps: {what} of {first} and {second} swapped"
            yield Mutant(text, {"dvc.lock": lock})
            yield Mutant(f"{text}, attestations too", {"dvc.lock": lock, **signed})
    for name in (SET, REFERENCE):
        path = f"artifacts/predictions/{name}.parquet"
        table = Predictions.from_parquet((scene.root / path).read_bytes())
        perfect = replace(table, columns=table.columns | {"predicted": table.columns["label"]})
        hard = np.unique(table.columns["example"][table.columns["predicted"] != table.columns["label"]])
        kept = ~np.isin(table.columns["example"], hard)
        fewer = replace(table, columns={key: column[kept] for key, column in table.columns.items()})
        for what, forged in (("perfect answers", perfect), ("no hard examples", fewer)):
            content = forged.to_parquet()
            lock = _relocked(proposal, {path: proposal.push_file(content)})
            statement = scene.strange(Statement("predictions", scene.config.dataset, forged.set, sha256(content)))
            yield Mutant(f"two steps: {what} of {name}", {"dvc.lock": lock})
            signed = {f"attestations/{name}.json": statement}
            yield Mutant(f"two steps: {what} of {name}, signed by a stranger", {"dvc.lock": lock, **signed})
        members = proposal.members(f"artifacts/sets/{name}")
        for what, at, new in list(values(json.loads(members["manifest.json"])))[::12]:
            manifest = to_json(new)
            if manifest == members["manifest.json"]:
                continue
            folder = proposal.push_folder({**members, "manifest.json": manifest})
            renamed = proposal.push_file(replace(table, set=sha256(manifest)).to_parquet())
            text = f"two steps: manifest of {name}, {'.'.join(map(str, at)) or 'all'} {what}"
            lock = _relocked(proposal, {f"artifacts/sets/{name}": folder})
            yield Mutant(text, {"dvc.lock": lock})
            lock = _relocked(proposal, {f"artifacts/sets/{name}": folder, path: renamed})
            yield Mutant(f"{text}, predictions too", {"dvc.lock": lock})


def _params_and_lock(proposal: Proposal) -> Iterator[Mutant]:
    """Alter params.yaml, and write into every record what DVC would write after it ran.

    Not for `validate`: if validation still passes, DVC runs nothing after it, and such a pull request is honest.
    """
    for what, at, new in _bound(proposal.scene.params):
        try:
            stages = {
                name: {
                    **record,
                    "params": {"params.yaml": {key: _lookup(new, key) for key in proposal.graph[name].params}},
                }
                for name, record in proposal.lock["stages"].items()
            }
        except (LookupError, TypeError):
            continue  # params.yaml alone is refused
        if at[0] == "validate":
            continue
        lock = {**proposal.lock, "stages": stages}
        text = f"two steps: {'.'.join(map(str, at))} {what} in params.yaml and dvc.lock"
        yield Mutant(text, {"params.yaml": _text(new), "dvc.lock": _text(lock)})


def sample(proposal: Proposal, count: int) -> list[Mutant]:
    """Return about so many mutants, an equal share of each kind and spread over it."""
    chosen: list[Mutant] = []
    kinds = mutants(proposal)
    share = -(-count // len(kinds))
    rng = np.random.default_rng(0)
    for kind in kinds.values():
        order = (kind[i] for i in rng.permutation(len(kind)))
        chosen += islice((mutant for mutant in order if proposal.counts(mutant)), share)
    return chosen


def apply(proposal: Proposal, chosen: Iterable[Mutant]) -> Table:
    """Judge each pull request; only an outcome that blocks, or an error of one line, kills a mutant."""
    table = Table(asked={INTERFACE: 0})
    for mutant in chosen:
        table.distinct += 1
        table.asked[INTERFACE] += 1
        try:
            if proposal.outcome(mutant) in PASSES:
                table.survivors.append((INTERFACE, mutant.name))
        except FairDistillError as error:
            if "\n" in str(error):
                table.faults.append((INTERFACE, mutant.name, f"more than a line: {error}"))
        except Exception:
            table.faults.append((INTERFACE, mutant.name, traceback.format_exc()))
    return table


def check_honest(proposal: Proposal) -> None:
    outcome = proposal.outcome(Mutant("honest"))
    assert outcome == "pass", f"the honest pull request is judged {outcome}"


def part(number: int, of: int, count: int) -> Table:
    os.environ["FAIR_DISTILL_CACHE"] = tempfile.mkdtemp()
    with tempfile.TemporaryDirectory() as folder, quick():
        proposal = Proposal(Path(folder))
        check_honest(proposal)
        table = apply(proposal, sample(proposal, count)[number::of])
        check_honest(proposal)
        return table


def main() -> int:
    """Judge the pull requests in several processes and print the table; 1 if one passes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="about how many mutants")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--least", type=int, default=0, help="fail with fewer mutants than this")
    arguments = parser.parse_args()
    began, total = time.perf_counter(), Table(asked={INTERFACE: 0})
    with ProcessPoolExecutor(arguments.jobs) as pool:
        jobs = [pool.submit(part, n, arguments.jobs, arguments.count) for n in range(arguments.jobs)]
        for job in jobs:
            total += job.result()
    print(total.text())
    print(f"{time.perf_counter() - began:.0f} s")
    return int(bool(total.survivors or total.faults) or total.distinct < arguments.least)


if __name__ == "__main__":
    sys.exit(main())
