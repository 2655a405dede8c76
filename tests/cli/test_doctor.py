"""The doctor finds what is broken, says how to mend it, and leaves nothing behind."""

import json
from pathlib import Path

import pytest
from small_registry import MemoryStore
from small_workspace import run, tree

from fair_distill.cli import doctor
from fair_distill.cli.doctor import Check, examine


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "FAIR_DISTILL_CHECKPOINTS", "FAIR_DISTILL_REGISTRY", "FAIR_DISTILL_DEVICE"):
        monkeypatch.delenv(name, raising=False)


def without_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC takes seconds to say what it has; one test asks it."""
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda package: None if package == "dvc" else known(package))


def test_a_sound_workspace_has_no_failed_line(finished: Path) -> None:
    before = tree(finished)

    ended = run(finished, "doctor", "--json")

    checks = [Check(line["name"], line["state"], line["found"], line["fix"]) for line in json.loads(ended.out)]
    assert (ended.code, [check for check in checks if check.state == "fail"]) == (0, [])
    assert {"Python", "device", "params.yaml", "registry", "Prefect API", "disk", "memory"} <= {c.name for c in checks}
    assert all(check.fix for check in checks if check.name == "DVC remotes")
    assert tree(finished) == before


def test_every_failed_line_has_a_way_out_and_the_exit_code_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_dvc(monkeypatch)
    monkeypatch.setenv("PREFECT_API_URL", "gopher://nowhere")
    (tmp_path / "file").write_text("")

    ended = run(tmp_path, "doctor", "--device", "warp", "--registry", str(tmp_path / "file"))
    checks = {c.name: c for c in examine(tmp_path, registry=str(tmp_path / "file"), device="warp")}

    assert ended.code == 2
    failed = [check for check in checks.values() if check.state == "fail"]
    assert {check.name for check in failed} == {"device", "params.yaml", "registry", "Prefect API"}
    assert all(check.fix for check in failed)
    assert all(check.fix in ended.out and check.result in ended.out for check in failed)
    assert f"{len(failed)} of {len(checks)} checks failed" in ended.out


def test_a_store_that_writes_twice_is_found_out() -> None:
    class Forgetful(MemoryStore):
        def create(self, key: str, content: bytes) -> bool:
            self.content[key] = content
            return True

    assert doctor._refuses_to_overwrite(MemoryStore(), "here", fix="x").state == "ok"
    found = doctor._refuses_to_overwrite(Forgetful(), "here", fix="x")

    assert found.state == "fail"
    assert "overwrites existing keys" in found.result


def test_a_second_look_at_a_store_finds_the_mark_of_the_first() -> None:
    store = MemoryStore()

    assert [doctor._refuses_to_overwrite(store, "here", fix="x").state for _ in range(2)] == ["ok", "ok"]
    assert list(store.content) == ["doctor/create-only"]


def test_a_registry_in_a_folder_is_left_as_it_was(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    assert doctor._registry(str(registry)).state == "ok"
    assert not registry.exists()
    registry.mkdir()
    assert doctor._registry(str(registry)).state == "ok"
    assert tree(tmp_path) == {}


def test_a_bucket_that_answers_and_one_that_is_not_there(bucket: str, tmp_path: Path) -> None:
    assert (
        doctor._reachable("remote", f"{bucket}/dvc", base=tmp_path, shown_url=bucket, created_by="dvc push").state
        == "ok"
    )
    absent = doctor._reachable(
        "remote", "s3://no-such-bucket-here/dvc", base=tmp_path, shown_url="x", created_by="dvc push"
    )

    assert absent.state == "fail"
    assert "the bucket does not exist" in absent.result
    assert "AWS_ACCESS_KEY_ID" in absent.fix


def test_a_folder_that_may_be_made_is_no_fault(tmp_path: Path) -> None:
    assert (
        doctor._reachable("remote", "../dvc-remote", base=tmp_path / "w", shown_url="x", created_by="dvc push").state
        == "ok"
    )


def test_a_remote_with_a_file_url_is_checked_as_a_folder(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/missing"

    check = doctor._reachable("remote", url, base=Path("elsewhere"), shown_url=url, created_by="dvc push")

    assert (check.state, check.result) == ("ok", f"{tmp_path}/missing (`dvc push` will create it)")


def test_a_folder_is_made_by_whoever_writes_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new workspace: `published` is a remote that `dvc push` leaves alone."""
    assert run(tmp_path, "init", str(tmp_path / "w")).code == 0
    monkeypatch.setenv("FAIR_DISTILL_CHECKPOINTS", str(tmp_path / "checkpoints"))

    told = {check.name: check.result for check in (*doctor._remotes(tmp_path / "w"), doctor._checkpoints())}

    assert told == {
        "DVC remote local*": f"{tmp_path}/w/dvc-remote (`dvc push` will create it)",
        "DVC remote published": f"{tmp_path}/w/registry/objects (`fair-distill publish` will create it)",
        "checkpoints": f"{tmp_path}/checkpoints (`fair-distill stage distill` will create it)",
    }


def test_a_space_follows_the_longest_name(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: [Check("x" * 18, "ok", "found")])

    assert f"{'x' * 18}: found\n" in run(finished, "doctor").out


def test_prefects_answer_decides() -> None:
    def answers(status: int) -> Check:
        return doctor._prefect("http://here/api", request=lambda url: status if url == "http://here/api/health" else 0)

    assert doctor._prefect(None).state == "ok"
    assert answers(200).state == "ok"
    assert answers(401).state == "fail"
    assert "PREFECT_API_KEY" in answers(401).fix


def test_free_memory_is_read_as_the_system_says_it(tmp_path: Path) -> None:
    table = tmp_path / "meminfo"
    table.write_text("MemTotal:       24000000 kB\nMemAvailable:    1000 kB\n")

    assert doctor._free_memory_gb(table) == pytest.approx(1000 * 1024 / 1e9)
    assert doctor._free_memory_gb(tmp_path / "absent") is None


def test_little_memory_is_a_failed_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_free_memory_gb", lambda: 0.5)
    assert (doctor._memory().state, doctor._memory().result) == ("fail", "0.5 GB free")
    monkeypatch.setattr(doctor, "_free_memory_gb", lambda: None)
    assert doctor._memory().state == "note"
