"""`fair-distill erase`: nothing of an erased person is left in any store or cache, and the rest stays consistent."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from small_repository import commit, fewest_stages, repository
from small_workspace import Ended, run

from fair_distill.data.split_file import read_split
from fair_distill.data.units import unit_name_digests
from fair_distill.errors import IntegrityError
from fair_distill.registry.client import load
from fair_distill.registry.verify import verify
from fair_distill.stages import erase as erase_stage
from fair_distill.storage.schemes import open_store
from fair_distill.versioning.dvc_commands import Dvc

KEY = "a secret key of the blocklist, for tests"
COLUMNS = {"label": "y", "groups": "g", "numeric": ["a", "b"], "cluster": "person", "example_id": "visit"}
NETWORK = {"name": "mlp", "width": 8, "depth": 1}


def visits() -> list[str]:
    """Return the visits of 200 people, up to three each."""
    rng = np.random.default_rng(1)
    rows = []
    for person in range(200):
        for visit in range(1 + person % 3):
            label = int(rng.integers(2))
            a, b = rng.normal(size=2)
            rows.append(
                f"visit-{person}-{visit}x,person-{person}x,{a + 2 * label:.5f},{b:.5f},{'pn'[label]},{'fm'[person % 2]}"
            )
    return rows


def params() -> dict[str, Any]:
    made = fewest_stages()
    made["dataset"] = "people"
    made["recipe"] |= {"augment": [], "network": NETWORK}
    made["distill"] |= {"augment": [], "network": NETWORK, "rows": {"temperature": 0.5}}
    made["evaluate"] = {"seeds": 2, "networks": [NETWORK]}
    made["validate"] = {"minimum_per_cell": 2, "maximum_imbalance": 20}
    made["nearness"] = {"quantile": 0.05, "holdout_per_class": 20}
    made["data"] = {
        "source": {"name": "table", "path": "p.csv", "columns": COLUMNS},
        "splits": {"train": 0.5, "tune": 0.2, "gate": 0.3},
    }
    return made


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a workspace whose set was made, pushed, published, promoted and loaded."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("erase")
        patch.setenv("FAIR_DISTILL_CACHE", str(home / "cache"))
        root = repository(home / "w", params()).root
        graph = yaml.safe_load((root / "dvc.yaml").read_text())
        graph["stages"]["prepare"]["deps"] = ["p.csv"]
        (root / "dvc.yaml").write_text(yaml.safe_dump(graph))
        (root / ".gitignore").write_text((root / ".gitignore").read_text() + "p.csv\n")
        (root / "p.csv").write_text("\n".join(["visit,person,a,b,y,g", *visits()]) + "\n")
        dvc = Dvc(root)
        dvc.repro("judge", say=lambda line: None)
        dvc.push(say=lambda line: None)
        commit(root, "finished")
        for command in (["publish"], ["promote", "--to", "production"]):
            assert run(root, *command).code == 0
        return home


@pytest.fixture
def root(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the finished workspace, with an empty consumer's cache."""
    shutil.copytree(finished / "w", tmp_path / "w", symlinks=True)
    monkeypatch.setenv("FAIR_DISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAIR_DISTILL_BLOCKLIST_KEY", KEY)
    return tmp_path / "w"


def people_of(root: Path, split: str) -> list[str]:
    ids = read_split(root / f"artifacts/prepared/{split}.arrow").ids
    return sorted({re.sub(r"visit-(\d+)-.*", r"person-\1x", name) for name in ids.to_pylist()})


def erase(root: Path, *names: str, options: tuple[str, ...] = ("--no-rebuild",)) -> Ended:
    (root.parent / "ids.txt").write_text("\n".join(names) + "\n")
    return run(root, "erase", "--ids", str(root.parent / "ids.txt"), *options)


def leave_the_source(root: Path, *names: str) -> None:
    lines = (root / "p.csv").read_text().splitlines(keepends=True)
    (root / "p.csv").write_text("".join(line for line in lines if line.split(",")[1] not in names))


def values_of(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield every column of an Arrow or Parquet file as (name, values), decompressed."""
    content = path.read_bytes()
    if content.startswith(b"ARROW1"):
        table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
    elif content.startswith(b"PAR1"):
        table = pq.read_table(pa.BufferReader(content))
    else:
        return
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        yield name, column.storage.flatten() if isinstance(column, pa.ExtensionArray) else column


def scan(folder: Path, person: str) -> list[str]:
    """Return the files below a folder with the person's names, digests or rows, also in compressed columns.

    The source, the file of ids and git are not scanned: git has digests only.
    """
    number = re.fullmatch(r"person-(\d+)x", person)[1]  # type: ignore[index]
    rows = [line.split(",") for line in visits() if line.split(",")[1] == person]
    texts = [person.encode(), f"visit-{number}-".encode(), *(row[2].encode() for row in rows)]
    digests = {int(unit_name_digests("cluster", pa.array([person]))[0])}
    digests |= {int(unit_name_digests("example", pa.array([row[0]]))[0]) for row in rows}
    raw = [*texts, *(np.uint64(digest).astype("<u8").tobytes() for digest in digests)]
    numbers = np.float32([float(row[2]) for row in rows])
    hits = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or ".git" in path.parts or path.name in ("p.csv", "ids.txt"):
            continue
        hit = any(text in path.read_bytes() for text in raw)
        for name, values in values_of(path):
            if pa.types.is_uint64(values.type):
                hit |= not digests.isdisjoint(values.to_pylist())
            elif pa.types.is_large_string(values.type) or pa.types.is_string(values.type):
                hit |= any(text.decode() in value for value in values.to_pylist() for text in texts)
            elif name == "image":
                hit |= bool(np.isin(numbers, values.to_numpy()).any())
        if hit:
            hits.append(str(path.relative_to(folder)))
    return hits


def test_nothing_of_a_training_person_is_left_anywhere(root: Path):
    person, home = people_of(root, "train")[0], root.parent
    before = load("people@production", registry=root / "registry")
    assert {"w/.dvc/cache", "w/dvc-remote", "w/artifacts", "w/registry"} <= {
        re.match(r"w/(\.dvc/)?[^/]+", hit)[0]
        for hit in scan(home, person)  # type: ignore[index]
    }
    cached = [path for path in (home / "cache").rglob("*") if path.is_file() and "/objects/" in str(path)]

    ended = erase(root, person)
    leave_the_source(root, person)

    assert ended.code == 0, ended.err
    assert scan(home, person) == []
    assert not any(path.exists() for path in cached)
    assert person not in ended.out + ended.err
    assert list((root / "artifacts").rglob("*.parquet")) == []
    assert before.card.dataset == "people"


def test_an_erased_version_is_refused_with_the_day_and_the_registry_stays_valid(root: Path, tmp_path: Path):
    person = people_of(root, "train")[0]
    assert run(root, "registry", "pin", "people@production", "--lock", str(tmp_path / "lock")).code == 0
    assert erase(root, person).code == 0

    refused = run(root, "export", "card", "people@v1")
    assert refused.code == 5
    assert re.search(r"v1 of people was revoked at .*: erased on \d{4}-\d\d-\d\d \(erasure 1 of people\)", refused.err)
    with pytest.raises(IntegrityError, match=r"was erased on .* cannot be restored"):
        load("people@v1", registry=root / "registry", revoked=True)
    remarks = [row.remark for row in verify("people", registry=str(root / "registry")) if row.remark]
    assert remarks
    assert all("erased on" in remark for remark in remarks)
    assert run(root, "registry", "outdated", "--lock", str(tmp_path / "lock")).code == 1
    assert run(root, "registry", "gc", str(tmp_path / "look.json")).code == 0
    assert "0 files are unused" in run(root, "registry", "gc", str(tmp_path / "look2.json")).out
    again = run(root, "publish")
    assert again.code != 0


def test_a_gate_person_leaves_the_predictions_and_the_version_stays_in_force(root: Path):
    person = people_of(root, "gate")[0]
    examples = next((root / "registry/attempts/examples").iterdir())
    size = examples.stat().st_size

    assert erase(root, person).code == 0
    leave_the_source(root, person)

    assert scan(root.parent, person) == []
    assert load("people@production", registry=root / "registry").card.dataset == "people"
    remarks = [row.remark for row in verify("people", registry=str(root / "registry")) if row.remark]
    assert len(remarks) == 1
    assert "erased on" in remarks[0]
    (replaced,) = (root / "registry/attempts/examples").iterdir()
    assert replaced.name != examples.name
    assert replaced.stat().st_size == size


def test_a_person_who_returns_to_the_source_is_left_out(root: Path):
    person = people_of(root, "train")[0]
    assert erase(root, person).code == 0

    with_person = run(root, "stage", "prepare")
    bytes_with = {path.name: path.read_bytes() for path in (root / "artifacts/prepared").iterdir()}
    assignments = (root / "artifacts/assignments.arrow").read_bytes()
    leave_the_source(root, person)
    without_person = run(root, "stage", "prepare")

    assert with_person.code == without_person.code == 0
    assert "blocklist.json: left out" in with_person.out
    assert "blocklist.json" not in without_person.out
    assert {path.name: path.read_bytes() for path in (root / "artifacts/prepared").iterdir()} == bytes_with
    assert (root / "artifacts/assignments.arrow").read_bytes() == assignments
    assert "0 moved" in with_person.out


def test_prepare_refuses_without_the_key_or_with_another_blocklist(root: Path, monkeypatch: pytest.MonkeyPatch):
    assert erase(root, people_of(root, "train")[0]).code == 0

    monkeypatch.delenv("FAIR_DISTILL_BLOCKLIST_KEY")
    assert "FAIR_DISTILL_BLOCKLIST_KEY is not set" in run(root, "stage", "prepare").err
    monkeypatch.setenv("FAIR_DISTILL_BLOCKLIST_KEY", "b" * 40)
    assert "another key" in run(root, "stage", "prepare").err
    monkeypatch.setenv("FAIR_DISTILL_BLOCKLIST_KEY", KEY)
    (root / "blocklist.json").unlink()
    refused = run(root, "stage", "prepare")
    assert refused.code == 2
    assert "blocklist.json is missing" in refused.err


def test_a_dry_run_changes_nothing_and_names_what_would_go(root: Path):
    person = people_of(root, "train")[0]
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}

    ended = erase(root, person, options=("--dry-run", "--json"))

    assert ended.code == 0
    report = json.loads(ended.out)
    assert [row["number"] for row in report["registry"]["versions"]] == [1]
    assert report["registry"]["versions"][0]["channels"] == ["production"]
    assert report["examples"]["train"] > 0
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("steps", [2, 20, 35])
def test_an_erasure_that_is_killed_is_completed_by_repeating_it(
    root: Path, steps: int, monkeypatch: pytest.MonkeyPatch
):
    person, left = people_of(root, "train")[0], steps
    unlink = Path.unlink

    def dying(path: Path, missing_ok: bool = False) -> None:
        nonlocal left
        if not path.name.endswith(".part"):
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", dying)
    assert erase(root, person).code == 130
    monkeypatch.setattr(Path, "unlink", unlink)

    ended = erase(root, person)
    leave_the_source(root, person)

    assert ended.code == 0, ended.err
    assert scan(root.parent, person) == []
    assert verify("people", registry=str(root / "registry"))


def test_erasing_somebody_again_removes_nothing(root: Path):
    person = people_of(root, "train")[0]
    assert erase(root, person).code == 0
    leave_the_source(root, person)
    files = {path: path.read_bytes() for path in (root / "registry").rglob("*") if path.is_file()}

    ended = erase(root, person)

    assert ended.code == 0, ended.err
    assert "registry: 0 contents are removed" in ended.out
    assert "0 new names, 1 in total" in ended.out
    assert {path: path.read_bytes() for path in (root / "registry").rglob("*") if path.is_file()} == files


def test_somebody_who_is_nowhere_is_still_kept_out(root: Path):
    ended = erase(root, "person-unknown")

    assert ended.code == 0, ended.err
    assert "registry: 0 contents are removed" in ended.out
    assert (root / "artifacts/prepared/train.arrow").exists()
    assert len(json.loads((root / "blocklist.json").read_bytes())["hashes"]) == 1


def test_single_examples_are_erased_by_id(root: Path):
    split = read_split(root / "artifacts/prepared/gate.arrow")
    visit = split.ids[0].as_py()

    ended = erase(root, visit, options=("--by", "example", "--no-rebuild"))

    assert ended.code == 0, ended.err
    assert run(root, "stage", "prepare").code == 0
    after = read_split(root / "artifacts/prepared/gate.arrow")
    assert len(after) == len(split) - 1
    assert visit not in after.ids.to_pylist()


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", (), "has no names"),
        (b"\xff\xfe\x00", (), "is not UTF-8 text"),
        (b"person-1x\n", ("--by", "pair"), "data.source.columns.pair is missing"),
    ],
)
def test_bad_input_ends_in_one_line(root: Path, content: bytes, options: tuple[str, ...], message: str):
    (root.parent / "ids.txt").write_bytes(content)

    ended = run(root, "erase", "--ids", str(root.parent / "ids.txt"), *options)

    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_a_signed_report_names_what_was_not_reached(root: Path):
    pytest.importorskip("securesystemslib")
    from fair_distill.files import sha256
    from fair_distill.statements import new_key, read_envelope, signed_by

    private, public = new_key()
    (root.parent / "key").write_bytes(private)
    report = root.parent / "report.json"

    ended = erase(
        root,
        people_of(root, "train")[0],
        options=("--no-rebuild", "--key", str(root.parent / "key"), "--report", str(report)),
    )

    assert ended.code == 0, ended.err
    envelope = report.with_suffix(".dsse.json").read_bytes()
    assert read_envelope(envelope, name="it").about == sha256(report)
    assert signed_by(envelope, [public], name="it")
    places = {row["place"] for row in json.loads(report.read_bytes())["not_reached"]}
    assert {"backups", "consumers", "evidence packs", "other clones of the workspace"} <= places


def test_the_stage_refuses_if_something_is_left(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(erase_stage, "_rewrite_assignments", lambda workspace, collector: None)

    ended = erase(root, people_of(root, "train")[0])

    assert ended.code == 5
    assert "still has contents of the people" in ended.err


def test_a_remote_a_registry_and_checkpoints_in_a_bucket_are_cleared(root: Path, bucket: str):
    person = people_of(root, "train")[0]
    stores = {name: open_store(f"{bucket}/{name}", source="a test") for name in ("remote", "registry", "runs")}
    for name, folder in (("remote", root / "dvc-remote"), ("registry", root / "registry")):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                stores[name].put(path.relative_to(folder).as_posix(), path.read_bytes())
        shutil.rmtree(folder)
    shutil.rmtree(root / ".dvc/cache")
    config = (root / ".dvc/config").read_text().replace("url = ../dvc-remote", f"url = {bucket}/remote")
    (root / ".dvc/config").write_text(config)
    stores["runs"].put(f"{'a' * 64}/000000001-x.safetensors", b"a state")
    stores["runs"].put("notes.txt", b"not a checkpoint")
    options = ("--no-rebuild", "--registry", f"{bucket}/registry", "--checkpoints", f"{bucket}/runs", "--json")

    ended = erase(root, person, options=options)

    assert ended.code == 0, ended.err
    left = root.parent / "left"
    for name in ("remote", "registry"):
        for key in stores[name].list():
            (left / name / key).parent.mkdir(parents=True, exist_ok=True)
            (left / name / key).write_bytes(stores[name].read(key))
    assert scan(left, person) == []
    assert stores["runs"].list() == ["notes.txt"]
    report = json.loads(ended.out)
    assert report["dvc"]["the DVC remote 'local'"] > 10
    assert "earlier object versions in the bucket" in {row["place"] for row in report["not_reached"]}
    assert verify("people", registry=f"{bucket}/registry")


def test_predictions_in_a_separate_location_are_erased_there(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    person, private = people_of(root, "train")[0], tmp_path / "private"
    for pattern in ("versions/*/predictions/*", "attempts/examples/*", "units/*"):
        for path in sorted((root / "registry").glob(pattern)):
            target = private / path.relative_to(root / "registry")
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    monkeypatch.setenv("FAIR_DISTILL_PREDICTIONS", str(private))

    assert erase(root, person).code == 0

    assert [path for path in private.rglob("*") if path.is_file() and "examples" not in path.parts] == []
    assert verify("people", registry=str(root / "registry"))


def test_a_remote_that_cannot_be_read_is_in_the_report(root: Path):
    config = (root / ".dvc/config").read_text().replace("url = ../dvc-remote", "url = gs://bucket/x")
    (root / ".dvc/config").write_text(config)

    ended = erase(root, people_of(root, "train")[0], options=("--dry-run", "--json"))

    rows = {row["place"]: row["action"] for row in json.loads(ended.out)["not_reached"]}
    assert "gs://bucket/x" in rows["the DVC remote 'local'"]


def test_results_of_prepared_files_that_are_gone_are_removed_only_on_request(root: Path):
    person = people_of(root, "train")[0]
    prepared = {path.stat().st_size for path in (root / "artifacts/prepared").iterdir()}
    for folder in (root / ".dvc/cache", root / "dvc-remote"):
        for path in folder.rglob("*"):
            if path.is_file() and path.stat().st_size in prepared:
                path.unlink()
    shutil.rmtree(root / "artifacts")

    cautious = json.loads(erase(root, person, options=("--dry-run", "--json")).out)
    thorough = json.loads(erase(root, person, options=("--dry-run", "--json", "--include-unknown")).out)

    assert cautious["dvc"]["the DVC cache"] <= 1  # the assignments show whom they contain
    assert any("no longer stored" in row["action"] for row in cautious["not_reached"])
    assert thorough["dvc"]["the DVC cache"] > 5
    assert [row["number"] for row in cautious["registry"]["versions"]] == [1]
