"""The check of dvc.lock accepts a lock only if DVC would, and runs without DVC."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from small_repository import repository
from small_workspace import REPOSITORY, SETS, small_params

from fair_distill.errors import ConfigError, FairDistillError, IntegrityError, MeasurementError
from fair_distill.versioning.dvc_graph import read_graph
from fair_distill.versioning.dvc_lock import check_lock

JUDGED, REFERENCES = "pooled", ("full", "balanced")
TARGETS = [f"evaluate@{name}" for name in (JUDGED, *REFERENCES)]


@dataclass(frozen=True)
class Locked:
    """A workspace whose outputs were written by the test and recorded by `dvc commit`."""

    root: Path

    def __post_init__(self) -> None:
        params = small_params()
        repository(self.root, params)
        for stage in read_graph(self.root / "dvc.yaml", params)[0].values():
            for out in stage.outs:
                self.write(out)
        with contextlib.chdir(self.root), Repo() as dvc:
            dvc.commit(force=True)
        shutil.copytree(self.root, self.root.with_name("pristine"))

    def write(self, out: str) -> None:
        path = self.root / out
        files = [path] if path.suffix else [path / "manifest.json", path / "images" / "é.png", path / "images.txt"]
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"content of {file.relative_to(self.root)}\n")

    def restore(self) -> None:
        pristine = self.root.with_name("pristine")
        for name in ("dvc.lock", "dvc.yaml", "params.yaml"):
            shutil.copy(pristine / name, self.root / name)
        shutil.rmtree(self.root / "artifacts", ignore_errors=True)
        shutil.copytree(pristine / "artifacts", self.root / "artifacts")

    def yaml(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load((self.root / name).read_text())
        return content

    def change(self, name: str, edit: Callable[[Any], object]) -> None:
        content = self.yaml(name)
        edit(content)
        (self.root / name).write_text(yaml.safe_dump(content, sort_keys=False))

    def lock(self, edit: Callable[[Any], object]) -> None:
        self.change("dvc.lock", lambda lock: edit(lock["stages"]))

    def dvc_is_fresh(self) -> bool:
        """Return whether DVC considers all stages before `judge` up to date."""
        with contextlib.chdir(self.root), Repo() as dvc:
            return not dvc.status(targets=TARGETS, with_deps=True)

    def check(self, **options: Any) -> FairDistillError | None:
        """Return the error of `check_lock`, or None if the lock is up to date."""
        error = None
        try:
            assert check_lock(self.root, JUDGED, references=REFERENCES, **options)
        except FairDistillError as raised:
            error = raised
        assert len(str(error).splitlines()) == 1
        return error

    def delete_files(self) -> None:
        shutil.rmtree(self.root / "artifacts")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Locked:
    return Locked(tmp_path_factory.mktemp("locked") / "work")


@pytest.fixture
def locked(built: Locked) -> Iterator[Locked]:
    built.restore()
    yield built
    built.restore()


def entry(record: dict[str, Any], key: str, path: str) -> dict[str, Any]:
    return next(file for file in record[key] if file["path"] == path)


def out(stages: dict[str, Any], stage: str, path: str) -> dict[str, Any]:
    return entry(stages[stage], "outs", path)


def prediction(stages: dict[str, Any], name: str) -> dict[str, Any]:
    return out(stages, f"evaluate@{name}", f"artifacts/predictions/{name}.parquet")


def swap_predictions(stages: dict[str, Any]) -> None:
    pooled, barycentric = prediction(stages, "pooled"), prediction(stages, "barycentric")
    for key in ("md5", "size"):
        pooled[key], barycentric[key] = barycentric[key], pooled[key]


def folder_md5(stages: dict[str, Any], names: tuple[str, ...]) -> str:
    listing = [{"md5": prediction(stages, name)["md5"], "relpath": f"{name}.parquet"} for name in sorted(names)]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"


def edit_md5(file: dict[str, Any]) -> None:
    file["md5"] = "0" * 32 + (".dir" if file["md5"].endswith(".dir") else "")


def edit_both(stages: dict[str, Any]) -> None:
    edit_md5(out(stages, "distill@pooled", "artifacts/sets/pooled"))
    edit_md5(entry(stages["evaluate@pooled"], "deps", "artifacts/sets/pooled"))


def test_a_lock_that_dvc_wrote_is_up_to_date(locked: Locked) -> None:
    assert locked.dvc_is_fresh()
    assert locked.check() is None
    assert locked.check(judged=True) is None


def test_absent_files_are_not_an_error(locked: Locked) -> None:
    locked.delete_files()

    assert locked.check(judged=True) is None


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml"])
def test_a_workspace_without_a_lock_or_a_graph_is_not_checked(locked: Locked, name: str) -> None:
    (locked.root / name).unlink()
    try:
        assert not check_lock(locked.root, JUDGED)
    finally:
        locked.restore()


PARAMS: dict[str, Callable[[Any], object]] = {
    "a number": lambda params: params["distill"].update(steps=6),
    "a nested value": lambda params: params["recipe"]["network"].update(width=9),
    "a row of the matrix": lambda params: params["candidates"]["pooled"].update(alignment="per_group"),
    "a type": lambda params: params.update(seed="0"),
    "null": lambda params: params["distill"].update(shrinkage=None),
    "a key more": lambda params: params["evaluate"].update(more=1),
    "a key less": lambda params: params["evaluate"].pop("seeds"),
    "a section less": lambda params: params.pop("nearness"),
    "engine": lambda params: params.update(engine=99),
}


@pytest.mark.parametrize("edit", PARAMS.values(), ids=PARAMS)
@pytest.mark.parametrize("files", [True, False], ids=["files", "lock only"])
def test_a_changed_param_is_stale(locked: Locked, edit: Callable[[Any], object], files: bool) -> None:
    locked.change("params.yaml", edit)
    if files:
        assert not locked.dvc_is_fresh()
    else:
        locked.delete_files()

    error = locked.check()

    assert isinstance(error, MeasurementError)
    assert "Run `dvc repro evaluate@pooled`, then `git add dvc.lock`." in str(error)


def test_the_message_names_stage_key_and_both_values(locked: Locked) -> None:
    locked.change("params.yaml", lambda params: params["distill"].update(steps=6))

    assert "stage 'distill@pooled': 'distill.steps' is 6 in params.yaml, 5 in dvc.lock" in str(locked.check())


FRESH: dict[str, Callable[[Any], object]] = {
    "an integer as a float": lambda params: params.update(seed=0.0),
    "an integer as a boolean": lambda params: params.update(seed=False),
    "the policy": lambda params: params["gate"].update(mode="bounds"),
    "another candidate": lambda params: params["candidates"]["barycentric"].update(barycenter="median"),
    "a set more": lambda params: params["candidates"].update(another={"alignment": "pooled"}),
}


@pytest.mark.parametrize("edit", FRESH.values(), ids=FRESH)
def test_a_change_that_no_stage_before_the_verdict_reads_leaves_the_lock_up_to_date(
    locked: Locked, edit: Callable[[Any], object]
) -> None:
    locked.change("params.yaml", edit)

    assert locked.dvc_is_fresh()
    assert locked.check() is None


GRAPH: dict[str, Callable[[Any], object]] = {
    "cmd": lambda stages: stages["evaluate"].update(cmd="fair-distill evaluate ${item.set} --fast"),
    "a dep more": lambda stages: stages["evaluate"]["deps"].append("context.json"),
    "an out more": lambda stages: stages["distill"]["outs"].append("artifacts/more/${item.candidate}"),
    "a param more": lambda stages: stages["validate"]["params"].append("dataset"),
    "an out renamed": lambda stages: stages["evaluate"].update(metrics=["artifacts/evaluation/x${item.set}.json"]),
}


@pytest.mark.parametrize("edit", GRAPH.values(), ids=GRAPH)
@pytest.mark.parametrize("files", [True, False], ids=["files", "lock only"])
def test_a_changed_graph_is_stale(locked: Locked, edit: Callable[[Any], object], files: bool) -> None:
    locked.change("dvc.yaml", lambda graph: edit(graph["stages"]))
    if files:
        assert not locked.dvc_is_fresh()
    else:
        locked.delete_files()

    assert isinstance(locked.check(), MeasurementError)


def test_a_removed_dependency_leaves_the_lock_up_to_date(locked: Locked) -> None:
    """DVC ignores additional dependencies in dvc.lock."""
    locked.change("dvc.yaml", lambda graph: graph["stages"]["evaluate"]["deps"].pop(0))

    assert locked.dvc_is_fresh()
    assert locked.check() is None


def test_a_folder_that_a_stage_reads_can_contain_files_that_no_stage_writes(locked: Locked) -> None:
    """The lock does not list it, so the check needs the folder."""
    locked.change("dvc.yaml", lambda graph: graph["stages"]["prepare"]["outs"].remove("artifacts/prepared/tune.arrow"))
    assert locked.dvc_is_fresh()
    assert locked.check() is None

    locked.delete_files()

    assert isinstance(locked.check(), MeasurementError)


LOCKS: dict[str, Callable[[Any], object]] = {
    "the MD5 of an out": lambda stages: edit_md5(out(stages, "prepare", "artifacts/prepared/gate.arrow")),
    "the MD5 of an out folder": lambda stages: edit_md5(out(stages, "distill@pooled", "artifacts/sets/pooled")),
    "the MD5 of a dep": lambda stages: edit_md5(stages["evaluate@pooled"]["deps"][1]),
    "the MD5 of a dep folder": lambda stages: edit_md5(stages["validate"]["deps"][0]),
    "a stage less": lambda stages: stages.pop("evaluate@pooled"),
    "the first stage less": lambda stages: stages.pop("prepare"),
    "a reference less": lambda stages: stages.pop("evaluate@full"),
    "an out less": lambda stages: stages["evaluate@pooled"]["outs"].pop(),
    "a dep less": lambda stages: stages["evaluate@pooled"]["deps"].pop(),
    "a param less": lambda stages: stages["evaluate@pooled"]["params"]["params.yaml"].pop("evaluate"),
    "cmd": lambda stages: stages["evaluate@pooled"].update(cmd="true"),
    "no hash": lambda stages: out(stages, "prepare", "artifacts/prepared/gate.arrow").pop("md5"),
}


@pytest.mark.parametrize("edit", LOCKS.values(), ids=LOCKS)
@pytest.mark.parametrize("files", [True, False], ids=["files", "lock only"])
def test_an_edited_lock_is_refused(locked: Locked, edit: Callable[[Any], object], files: bool) -> None:
    locked.lock(edit)
    if files:
        assert not locked.dvc_is_fresh()
    else:
        locked.delete_files()

    assert isinstance(locked.check(), MeasurementError)


FORGED: dict[str, Callable[[Any], object]] = {
    "an out that nothing reads": lambda stages: edit_md5(prediction(stages, "pooled")),
    "both records of a folder": edit_both,
}


@pytest.mark.parametrize("edit", FORGED.values(), ids=FORGED)
def test_a_file_that_is_not_the_one_in_the_lock_is_an_integrity_error(
    locked: Locked, edit: Callable[[Any], object]
) -> None:
    locked.lock(edit)
    assert not locked.dvc_is_fresh()

    assert isinstance(locked.check(), IntegrityError)


def test_one_md5_that_gives_a_set_another_sets_predictions_is_an_integrity_error(locked: Locked) -> None:
    """DVC accepts it as soon as `dvc checkout` has written that file: nothing before `judge` reads predictions."""

    def edit(stages: dict[str, Any]) -> None:
        prediction(stages, "pooled").update(md5=prediction(stages, "barycentric")["md5"])

    locked.lock(edit)
    folder = locked.root / "artifacts" / "predictions"
    shutil.copy(folder / "barycentric.parquet", folder / "pooled.parquet")
    assert locked.dvc_is_fresh()

    error = locked.check()

    assert isinstance(error, IntegrityError)
    assert "same MD5 for 'artifacts/predictions/barycentric.parquet'" in str(error)


def test_predictions_of_two_sets_swapped_differ_from_what_judge_read(locked: Locked) -> None:
    """Only the record of `judge` binds them to the sets; without it, the name in the predictions does."""
    locked.lock(swap_predictions)
    locked.delete_files()

    assert locked.check() is None
    assert isinstance(locked.check(judged=True), MeasurementError)


def test_the_record_of_judge_names_the_predictions_of_all_sets(locked: Locked) -> None:
    stages = locked.yaml("dvc.lock")["stages"]

    assert entry(stages["judge@pooled"], "deps", "artifacts/predictions")["md5"] == folder_md5(stages, SETS)


def test_a_size_that_two_records_of_one_file_do_not_share_is_an_integrity_error(locked: Locked) -> None:
    """DVC does not compare sizes."""
    locked.lock(lambda stages: stages["evaluate@pooled"]["deps"][0].update(size=1))
    assert locked.dvc_is_fresh()

    assert isinstance(locked.check(), IntegrityError)


DISK = {
    "a file edited": lambda root: (root / "artifacts/predictions/pooled.parquet").write_text("other"),
    "as many other bytes": lambda root: (root / "artifacts/sets/pooled/images.txt").write_text(
        "Content of artifacts/sets/pooled/images.txt\n"
    ),
    "a member more": lambda root: (root / "artifacts/sets/pooled/more").write_text(""),
    "a member renamed": lambda root: (root / "artifacts/sets/pooled/images.txt").rename(
        root / "artifacts/sets/pooled/i.txt"
    ),
}


@pytest.mark.parametrize("edit", DISK.values(), ids=DISK)
def test_an_edited_file_is_an_integrity_error(locked: Locked, edit: Callable[[Path], object]) -> None:
    edit(locked.root)
    assert not locked.dvc_is_fresh()

    assert isinstance(locked.check(), IntegrityError)


def test_a_set_that_was_distilled_but_not_evaluated_again_is_stale(locked: Locked) -> None:
    (locked.root / "artifacts/sets/pooled/images.txt").write_text("another set\n")
    with contextlib.chdir(locked.root), Repo() as dvc:
        dvc.commit(target="distill@pooled", force=True)
    assert not locked.dvc_is_fresh()

    error = locked.check()

    assert isinstance(error, MeasurementError)
    assert "'evaluate@pooled' read 'artifacts/sets/pooled'" in str(error)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _leaves(item, (*path, key))


VALUES = st.sampled_from([None, 0, 1, 1.0, True, "", "0", "a", [], {}, ["a"], {"a": 1}, "0" * 32, "0" * 32 + ".dir"])


@given(data=st.data(), name=st.sampled_from(["dvc.lock", "params.yaml", "dvc.yaml"]), deleted=st.booleans())
@settings(max_examples=40, phases=[Phase.generate])
def test_any_edit_that_dvc_notices_is_refused(built: Locked, data: st.DataObject, name: str, deleted: bool) -> None:
    """If DVC considers a lock up to date, the check refuses it only for sizes, and for values that DVC cannot read."""
    built.restore()
    content = built.yaml(name)
    path = data.draw(st.sampled_from(list(_leaves(content))))
    edited = deepcopy(content)
    parent = edited
    for key in path[:-1]:
        parent = parent[key]
    if deleted:
        del parent[path[-1]]
    else:
        parent[path[-1]] = data.draw(VALUES)
    (built.root / name).write_text(yaml.safe_dump(edited, sort_keys=False))
    try:
        fresh = built.dvc_is_fresh()
    except Exception:  # DVC cannot run such a workspace; it raises various errors
        fresh = None

    error = built.check()

    if fresh is False:
        assert error is not None, path
    elif fresh and error is not None:
        stricter = {"size", "nfiles", "isexec", "hash"} & set(path) or isinstance(error, ConfigError)
        assert stricter, (path, str(error))
    built.restore()


MALFORMED = {
    "dvc.lock": ["[]", "schema: '2.0'\nstages: []", "schema: '1.0'\nstages: {}", "schema: '2.0'\nstages: {prepare: 1}"],
    "params.yaml": ["[]", "a: &a [*a]", "sets: 1"],
    "dvc.yaml": [
        "stages: []",
        "stages: {a: 1}",
        "stages: {a: {}}",
        "vars: [{a: 1}]\nstages: {}",
        "stages: {a: {foreach: [1], do: {cmd: x}}}",
        "stages: {a: {cmd: x, frozen: true}}",
        "stages: {a: {cmd: x, wdir: y}}",
        "stages: {a: {cmd: 1}}",
        "stages: {a: {cmd: '${x()}'}}",
        "stages: {a: {cmd: '${__class__}'}}",
        "stages: {a: {cmd: '${data}'}}",
        "stages: {a: {cmd: '\\${seed}'}}",
        "stages: {a: {cmd: x, deps: [[]]}}",
        "stages: {a: {cmd: x, deps: y}}",
        "stages: {a: {cmd: x, params: [{other.json: [a]}]}}",
        "stages: {a: {matrix: {b: [[1]]}, cmd: x}}",
        "stages: {a: {matrix: {b: '${seed}'}, cmd: x}}",
        "stages: {a: {matrix: {b: [" + "1, " * 200 + "], c: [" + "1, " * 200 + "]}, cmd: x}}",
        "stages: {}",
    ],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in MALFORMED.items() for text in texts])
def test_a_malformed_file_ends_in_one_line(locked: Locked, name: str, text: str) -> None:
    (locked.root / name).write_text(text)

    assert isinstance(locked.check(), ConfigError)


def test_an_incomplete_folder_is_not_compared_by_its_digest(locked: Locked) -> None:
    (locked.root / "artifacts/sets/pooled/manifest.json").unlink()

    assert locked.check() is None


def test_an_incomplete_folder_is_compared_by_the_outputs_in_it(
    locked: Locked,
) -> None:
    locked.lock(lambda stages: edit_md5(stages["validate"]["deps"][0]))
    (locked.root / "artifacts/prepared/train.arrow").unlink()

    assert isinstance(locked.check(), MeasurementError)


def test_an_unreadable_stage_matters_only_if_the_set_can_depend_on_it(locked: Locked) -> None:
    graph = locked.root / "dvc.yaml"
    text = graph.read_text()
    graph.write_text(text.replace("stages:\n", "stages:\n  extra: {foreach: [1], do: {cmd: x}}\n", 1))
    assert locked.check() is None
    graph.write_text(graph.read_text().replace("      - artifacts/prepared/train.arrow\n", "      - raw\n", 1))

    assert isinstance(locked.check(), ConfigError | MeasurementError)


def test_for_a_set_outside_the_graph_only_references_are_checked(locked: Locked) -> None:
    locked.lock(lambda stages: stages.pop("evaluate@pooled"))

    assert not check_lock(locked.root, None)
    assert not check_lock(locked.root, None, references=REFERENCES)
    with pytest.raises(MeasurementError, match=r"'evaluate@pooled' is not in dvc\.lock"):
        check_lock(locked.root, None, references=["pooled"])


def test_the_message_names_a_set_that_is_not_in_the_graph(locked: Locked) -> None:
    with pytest.raises(ConfigError, match="no stage 'judge@another'"):
        check_lock(locked.root, "another")
    with pytest.raises(ConfigError, match="no stage that evaluates 'another'"):
        check_lock(locked.root, JUDGED, references=["another"])


@pytest.mark.parametrize(
    "graph", ["dvc.yaml", "fair_distill/template/dvc.yaml", "examples/adult/dvc.yaml", "examples/mtt/dvc.yaml"]
)
def test_every_graph_of_the_product_is_supported_and_resolved_as_dvc_does(tmp_path: Path, graph: str) -> None:
    work = repository(tmp_path / "work", small_params()).root
    shutil.copy(REPOSITORY / graph, work / "dvc.yaml")
    with contextlib.chdir(work), Repo() as dvc:
        expected = {
            stage.name: (
                stage.cmd,
                {dep.def_path for dep in stage.deps if dep.def_path != "params.yaml"},
                {item.def_path for item in stage.outs},
                {key for dep in stage.deps if dep.def_path == "params.yaml" for key in dep.params},
            )
            for stage in dvc.index.stages
        }

    stages, _ = read_graph(work / "dvc.yaml", small_params())

    assert {
        stage.name: (stage.cmd, set(stage.deps), set(stage.outs), set(stage.params)) for stage in stages.values()
    } == expected
