"""Hostile pull requests against the steps of the CI templates: none passes, and nothing that they plant runs.

Every pull request is a commit in a real git repository, with data in a real DVC remote. The steps are those of the YAML
files, in a clone of the base branch.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pull_requests import (
    GITHUB,
    PLACE,
    REFERENCE,
    SET,
    TEMPLATES,
    Attack,
    Change,
    Job,
    base_repository,
    judge,
    propose,
    record,
    small,
    well,
)
from small_repository import commit, git
from small_workspace import run

from fair_distill.files import sha256
from fair_distill.gate.predictions import Predictions
from fair_distill.statements import Statement, new_key, signer

pytestmark = pytest.mark.pipeline
PREDICTIONS = f"artifacts/predictions/{SET}.parquet"


@dataclass(frozen=True)
class Project:
    """A repository with the branches main, strict (a policy that no set passes) and honest (an attested change)."""

    origin: Path
    remote: Path
    key: Path
    other_key: Path


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    private, public = new_key()
    stranger, _ = new_key()
    (folder / "key").write_bytes(private)
    (folder / "other").write_bytes(stranger)
    params = small()
    params["gate"]["evaluators"] = [public]
    origin, remote = base_repository(folder, params)
    root = origin / PLACE
    well(root, "attest", SET, REFERENCE, "--key", str(folder / "key"))
    commit(origin, "attested")
    git(origin, "checkout", "--quiet", "-b", "strict")
    strict = json.loads(json.dumps(params))
    strict["gate"]["limits"][0]["at_least"] = 0.99
    (root / "params.yaml").write_text(yaml.safe_dump(strict, sort_keys=False))
    commit(origin, "strict")
    git(origin, "checkout", "--quiet", "-b", "honest", "main")
    params["distill"]["steps"] = 6
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    remake(root, DISTIL, ("evaluate", SET))
    well(root, "attest", SET, REFERENCE, "--key", str(folder / "key"))
    commit(origin, "another set")
    git(origin, "checkout", "--quiet", "--detach")
    return Project(origin, remote, folder / "key", folder / "other")


DISTIL = ("distill", SET)
EVALUATE = (("evaluate", REFERENCE), ("evaluate", SET))
EVERYTHING = (("prepare",), ("validate",), ("references", REFERENCE), DISTIL, *EVALUATE)


def remake(root: Path, *commands: tuple[str, ...]) -> None:
    """Run commands, and record and push the result as DVC does."""
    (root / "dvc.lock").unlink()  # DVC writes a new one; until then the old one says that nothing is up to date
    for command in (*commands, ("project",), ("judge", REFERENCE), ("judge", SET)):
        well(root, *command)
    record(root)


@dataclass(frozen=True)
class Case:
    """A hostile pull request: what its author does, and how the job must end."""

    attack: Attack
    code: int
    message: str
    start: str = "honest"
    base: str = "main"
    home: Callable[[Path, Change], None] | None = None


def forge(change: Change) -> None:
    """Write perfect predictions that name the right set and split."""
    table = Predictions.from_parquet(change.content(PREDICTIONS))
    columns = table.columns | {"predicted": table.columns["label"]}
    change.replace(PREDICTIONS, replace(table, columns=columns).to_parquet())


def without_hard_examples(change: Change) -> None:
    table = Predictions.from_parquet(change.content(PREDICTIONS))
    wrong = np.unique(table.columns["example"][table.columns["predicted"] != table.columns["label"]])
    kept = ~np.isin(table.columns["example"], wrong[:10])
    columns = {name: values[kept] for name, values in table.columns.items()}
    change.replace(PREDICTIONS, replace(table, columns=columns).to_parquet())


def params_without_repro(change: Change) -> None:
    params = change.params()
    params["distill"]["steps"] = 7
    change.write_params(params)


def not_evaluated(change: Change, *, consistent: bool) -> None:
    """Make another set and keep the predictions; `consistent` also edits dvc.lock so that it looks up to date."""
    _artifacts(change)
    params_without_repro(change)
    well(change.root, "distill", SET)
    folder = change.workspace.set(SET)
    listing = [
        {"md5": change.push_content((folder / name).read_bytes()), "relpath": name}
        for name in sorted(path.name for path in folder.iterdir())
    ]
    content = json.dumps(listing).encode()
    md5, size = change.push_content(content, suffix=".dir"), sum(path.stat().st_size for path in folder.iterdir())
    lock = change.lock()
    lock["stages"][f"distill@{SET}"]["params"]["params.yaml"]["distill"]["steps"] = 7
    for output in lock["stages"][f"distill@{SET}"]["outs"]:
        if output["path"] == f"artifacts/sets/{SET}":
            output |= {"md5": md5, "size": size}
    (change.root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    if consistent:
        change.relock(f"artifacts/sets/{SET}", md5, size)


def swapped(change: Change) -> None:
    theirs = change.output(f"artifacts/predictions/{REFERENCE}.parquet")
    change.relock(PREDICTIONS, theirs["md5"], theirs["size"])


def swapped_with_attestation(change: Change) -> None:
    swapped(change)
    folder = change.root / "attestations"
    shutil.copy(folder / f"{REFERENCE}.json", folder / f"{SET}.json")


def _artifacts(change: Change) -> None:
    """Give the clone the files that `dvc pull` would bring."""
    origin = Path(git(change.clone, "remote", "get-url", "origin"))
    shutil.copytree(origin / PLACE / "artifacts", change.root / "artifacts", dirs_exist_ok=True)


def hostile_dvc_config(change: Change) -> None:
    forge(change)
    program = change.program("steal.sh")
    aws = change.root / "aws.cfg"
    aws.write_text(f"[profile evil]\ncredential_process = {program}\n")
    (change.root / ".dvc" / "config").write_text(
        f"[core]\n    remote = shared\n['remote \"shared\"']\n    url = s3://bucket/x\n    profile = evil\n"
        f"    configpath = {aws}\n    credentialpath = {aws}\n"
    )
    (change.root / ".dvc" / "config.local").write_text(
        f"['remote \"shared\"']\n    url = s3://bucket/x\n    profile = evil\n    configpath = {aws}\n"
    )


def linked(name: str) -> Attack:
    """Replace a file of the workspace by a symbolic link to a file that the job can read."""

    def attack(change: Change) -> None:
        path = change.root / name
        content = path.read_bytes()
        path.unlink()
        (change.root / "elsewhere").write_bytes(content)
        path.symlink_to("elsewhere")

    return attack


def linked_folder(change: Change) -> None:
    folder = change.root / "attestations"
    folder.rename(change.root / "elsewhere")
    folder.symlink_to("elsewhere")


def submodule(change: Change) -> None:
    git(change.clone, "rm", "--quiet", "-r", "--cached", PLACE)
    shutil.rmtree(change.root)
    git(change.clone, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},{PLACE}")
    git(change.clone, "commit", "--quiet", "--message", "submodule")
    change.clone.joinpath(PLACE).mkdir()  # what a clone shows of a submodule that is not fetched


def another_command(change: Change) -> None:
    program = change.program("evil.sh")
    path = change.root / "dvc.yaml"
    path.write_text(path.read_text().replace("cmd: fair-distill prepare", f"cmd: {program}"))


def loosened(change: Change) -> None:
    params = change.params()
    params["gate"]["limits"] = [{"metric": "accuracy", "at_least": 0.0, "why": "I would like to merge"}]
    change.write_params(params)


def own_evaluator(change: Change) -> None:
    """Trust another key in the same change, and sign with it."""
    private, public = new_key()
    params = change.params()
    params["gate"]["evaluators"] = [public]
    change.write_params(params)
    (change.marker.parent / "mine").write_bytes(private)
    _signed(change, change.marker.parent / "mine")


def _signed(change: Change, key: Path) -> None:
    _artifacts(change)
    well(change.root, "attest", SET, REFERENCE, "--key", str(key))


def waived(change: Change) -> None:
    version = Predictions.from_parquet(change.content(PREDICTIONS)).set
    waiver = {
        "set": version,
        "clause": "accuracy",
        "who": "I",
        "approved_by": "Me",
        "why": "x",
        "expires": "2126-01-01",
    }
    (change.root / "context.json").write_text(json.dumps({"waivers": [waiver]}))


def workflow_edited(change: Change) -> None:
    forge(change)
    program = change.program("evil.sh")
    path = change.clone / GITHUB
    path.write_text(path.read_text().replace("fair-distill gate pull-request", str(program)))
    (change.clone / "gate-requirements.txt").write_text("evil @ file:evil\n")


def planted_code(change: Change) -> None:
    """Plant modules that Python imports without being asked, where the job's processes start."""
    forge(change)
    line = f"open({str(change.marker)!r}, 'a').write(__name__)\n"
    for folder in (change.clone, change.root):
        (folder / "fair_distill").mkdir(exist_ok=True)
        for name in (
            "fair_distill/__init__.py",
            "sitecustomize.py",
            "usercustomize.py",
            "conftest.py",
            "json.py",
            "yaml.py",
        ):
            (folder / name).write_text(line)
        (folder / "evil.pth").write_text(f"import sys; {line}")


def filtered(change: Change) -> None:
    """Name a filter, a text conversion and a hook; the runner's own git configuration may define them, as for LFS."""
    forge(change)
    for folder in (change.clone, change.root):
        (folder / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")


def evil_git_home(home: Path, change: Change) -> None:
    program = change.clone / PLACE / "filter.sh"
    program.write_text(f"#!/bin/sh\necho filter >> {change.marker}\ncat\n")
    program.chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[filter "evil"]\n\tsmudge = {program}\n\tclean = {program}\n[diff "evil"]\n\ttextconv = {program}\n'
    )


def evil_aws_home(home: Path, change: Change) -> None:
    """A profile of the runner itself that runs a program: no file of AWS is read at all."""
    program = change.program("credentials.sh")
    (home / ".aws").mkdir()
    (home / ".aws" / "config").write_text(f"[default]\ncredential_process = {program}\n")


def huge_lock(change: Change) -> None:
    path = change.root / "dvc.lock"
    path.write_text(path.read_text() + "#" * 4_000_001 + "\n")


def alias_bomb(name: str) -> Attack:
    def attack(change: Change) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
        (change.root / name).write_text("\n".join(lines) + "\n")

    return attack


def remove_object(md5: str, change: Change) -> None:
    (change.remote / "files" / "md5" / md5[:2] / md5[2:]).unlink()


def not_pushed(change: Change) -> None:
    remove_object(change.output(PREDICTIONS)["md5"], change)


def set_not_pushed(change: Change) -> None:
    remove_object(change.output(f"artifacts/sets/{SET}")["md5"], change)


def exchanged_object(change: Change) -> None:
    """Put other bytes of the same length under the name of the predictions."""
    md5 = change.output(PREDICTIONS)["md5"]
    path = change.remote / "files" / "md5" / md5[:2] / md5[2:]
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)


def endless_object(change: Change) -> None:
    md5 = change.output(PREDICTIONS)["md5"]
    path = change.remote / "files" / "md5" / md5[:2] / md5[2:]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"x" * 10_000_000)


def traversal(change: Change) -> None:
    listing = json.dumps([{"md5": "0" * 32, "relpath": "../../../../manifest.json"}]).encode()
    change.relock(f"artifacts/sets/{SET}", change.push_content(listing, suffix=".dir"), len(listing))


def not_a_listing(change: Change) -> None:
    listing = b"[" * 100_000
    change.relock(f"artifacts/sets/{SET}", change.push_content(listing, suffix=".dir"), len(listing))


def unattested(change: Change) -> None:
    (change.root / "attestations" / f"{SET}.json").unlink()


def hostile_names(change: Change) -> None:
    """Markdown, HTML, escape sequences and orders to the runner, wherever the pull request may write text."""
    forge(change)
    text = "```\n# PASS\n<script>alert(1)</script> [x](javascript:x) @team\n::add-mask::x\n\x1b[2J\u202e"
    params = change.params()
    params["gate"]["limits"][0]["why"] = text
    params["recipe"]["steps"] = 21
    change.write_params(params)
    (change.root / "context.json").write_text(json.dumps({"note": text}))


def hostile_paths(change: Change) -> None:
    path = change.root / "dvc.lock"
    path.write_text(path.read_text() + '  "x\\n::error::\\x1b[2J":\n    outs: [{path: "a\\nb"}]\n')


def easier_exam(edit: Callable[[dict[str, Any]], None], *commands: tuple[str, ...]) -> Attack:
    """Change how sets are evaluated, do everything again, and have it attested by the trusted machine."""

    def attack(change: Change) -> None:
        _artifacts(change)
        params = change.params()
        edit(params)
        change.write_params(params)
        remake(change.root, *commands)
        well(change.root, "attest", SET, REFERENCE, "--key", str(change.remote.parent / "key"))

    return attack


def stranger_signs(change: Change) -> None:
    forge(change)
    predictions = change.workspace.predictions(SET)
    _artifacts(change)
    predictions.write_bytes(change.content(PREDICTIONS))
    well(change.root, "attest", SET, REFERENCE, "--key", str(change.remote.parent / "other"))


def attested_on_an_earlier_split(change: Change) -> None:
    """Use predictions of the same sets that the evaluator signed when the gate split had half of the examples."""
    sign = signer(change.remote.parent / "key")
    for name in (SET, REFERENCE):
        path = f"artifacts/predictions/{name}.parquet"
        table = Predictions.from_parquet(change.content(path))
        half = table.columns["example"] <= table.columns["example"].max() // 2
        columns = {column: values[half] for column, values in table.columns.items()}
        content = replace(table, split="d" * 64, columns=columns).to_parquet()
        change.replace(path, content)
        statement = Statement("predictions", "digits", table.set, sha256(content))
        change.workspace.attestation(name).write_bytes(sign(statement))


def fewer_networks(params: dict[str, Any]) -> None:
    params["evaluate"]["networks"] = params["evaluate"]["networks"][:1]


def fewer_seeds(params: dict[str, Any]) -> None:
    params["evaluate"]["seeds"] = 1


def smaller_split(params: dict[str, Any]) -> None:
    params["data"]["splits"] = {"train": 0.85, "tune": 0.1, "gate": 0.05}


def easier_recipe(params: dict[str, Any]) -> None:
    params["recipe"]["steps"] = 25


CASES = {
    "forged predictions": Case(forge, 3, "unattested"),
    "forged predictions without an attestation": Case(
        lambda change: (forge(change), unattested(change)), 3, "unattested"
    ),
    "forged predictions signed by a stranger": Case(stranger_signs, 3, "unattested"),
    "a stranger's key trusted by the same change": Case(own_evaluator, 3, "unattested"),
    "attested on an earlier split": Case(attested_on_an_earlier_split, 5, "is for the gate split"),
    "attestation deleted": Case(unattested, 3, "unattested"),
    "hard examples removed": Case(without_hard_examples, 3, "unattested"),
    "params changed without repro": Case(params_without_repro, 4, "dvc repro"),
    "another set, not evaluated": Case(lambda change: not_evaluated(change, consistent=False), 4, "evaluate"),
    "another set, not evaluated, dvc.lock edited": Case(
        lambda change: not_evaluated(change, consistent=True), 3, "unattested"
    ),
    "another set's predictions": Case(swapped, 5, SET),
    "another set's predictions and attestation": Case(swapped_with_attestation, 5, SET),
    ".dvc/config with a credential process": Case(hostile_dvc_config, 3, "unattested"),
    "params.yaml is a link": Case(linked("params.yaml"), 5, "symbolic link"),
    "dvc.lock is a link": Case(linked("dvc.lock"), 5, "symbolic link"),
    "dvc.yaml is a link": Case(linked("dvc.yaml"), 5, "symbolic link"),
    "attestations is a link": Case(linked_folder, 5, "symbolic link"),
    "the workspace is a submodule": Case(submodule, 5, "submodule"),
    "another command in dvc.yaml": Case(another_command, 3, "dvc.yaml differs from the base branch at line 6"),
    "a set over the limits": Case(lambda change: None, 1, "", base="strict"),
    "a policy loosened by the same change": Case(loosened, 1, "", base="strict"),
    "an invented waiver": Case(waived, 1, "", base="strict"),
    "an architecture dropped": Case(easier_exam(fewer_networks, *EVALUATE), 4, "mlp"),
    "seeds lowered": Case(easier_exam(fewer_seeds, ("references", REFERENCE), *EVALUATE), 4, "seeds"),
    "gate split shrunk": Case(easier_exam(smaller_split, *EVERYTHING), 3, "gate split"),
    "an easier recipe": Case(easier_exam(easier_recipe, ("references", REFERENCE), DISTIL, *EVALUATE), 4, "recipe"),
    "the workflow edited": Case(workflow_edited, 3, "unattested"),
    "modules that Python imports unasked": Case(planted_code, 3, "unattested"),
    "git filters": Case(filtered, 3, "unattested", home=evil_git_home),
    "a runner with a credential process": Case(forge, 3, "unattested", home=evil_aws_home),
    "a dvc.lock of 4 MB": Case(huge_lock, 2, "4,000,000"),
    "aliases in params.yaml": Case(alias_bomb("params.yaml"), 2, "params.yaml"),
    "aliases in dvc.lock": Case(alias_bomb("dvc.lock"), 2, "dvc.lock"),
    "a forgotten dvc push": Case(not_pushed, 4, f"the predictions file of set '{SET}'"),
    "a forgotten dvc push of the set": Case(set_not_pushed, 4, "dvc push"),
    "other bytes under an MD5": Case(exchanged_object, 5, "MD5"),
    "an object without an end": Case(endless_object, 5, "larger"),
    "a listing that leaves its folder": Case(traversal, 5, "listing"),
    "a listing that nests without an end": Case(not_a_listing, 5, "listing"),
    "Markdown and escape sequences in values": Case(hostile_names, 4, "dvc repro"),
    "escape sequences in dvc.lock": Case(hostile_paths, 5, "dvc.lock"),
}


def hand_in(case: Case, project: Project, tmp_path: Path, *, template: str = GITHUB) -> tuple[Job, Path]:
    """Let the attack write a pull request, run the job, and put the remote back in order."""
    backup = Path(shutil.copytree(project.remote, tmp_path / "backup"))
    home = tmp_path / "home"
    home.mkdir()

    def attack(change: Change) -> None:
        case.attack(change)
        if case.home is not None:
            case.home(home, change)

    try:
        head, marker = propose(project.origin, case.start, tmp_path, attack, remote=project.remote)
        return judge(template, project.origin, head, tmp_path / "job", base=case.base, home=home), marker
    finally:
        shutil.rmtree(project.remote)
        shutil.copytree(backup, project.remote)


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_pull_request_is_blocked_in_one_line_and_runs_nothing(
    name: str, project: Project, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    case = CASES[name]

    job, marker = hand_in(case, project, tmp_path)

    record_property("exit code", job.code)  # `pytest --junit-xml` has the table of all of them
    record_property("message", job.err.strip() or job.out.splitlines()[1])

    assert job.code == case.code, job.out + job.err
    assert not marker.exists(), marker.read_text()
    if case.code == 1:  # a verdict, which is not an error
        assert f"{SET}: FAIL" in job.out
        assert job.err == ""
    else:
        assert job.err.startswith("fair-distill: ")
        assert job.err.count("\n") == 1
        assert case.message in job.err
        assert job.err.rstrip("\n").isprintable()
        assert f"## {SET}: no verdict" in job.summary
    assert job.summary.replace("\n", "").isprintable()


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_honest_attested_pull_request_passes_by_every_template(
    template: str, project: Project, tmp_path: Path
) -> None:
    job, _ = hand_in(Case(lambda change: None, 0, ""), project, tmp_path, template=template)

    assert job.code == 0, job.out + job.err
    assert job.err == ""
    assert "attempt not recorded; --registry compares" in job.out
    assert f"## {SET}: PASS" in job.summary


@pytest.mark.parametrize("template", TEMPLATES)
def test_forged_predictions_are_blocked_by_every_template(template: str, project: Project, tmp_path: Path) -> None:
    job, _ = hand_in(CASES["forged predictions"], project, tmp_path, template=template)

    assert job.code == 3
    assert "unattested" in job.err


def test_a_summary_names_what_a_change_would_loosen_and_stays_one_block(project: Project, tmp_path: Path) -> None:
    job, _ = hand_in(CASES["Markdown and escape sequences in values"], project, tmp_path)

    assert "params.yaml: gate differs from the base branch" in job.summary
    assert "context.json differs from the base branch" in job.summary
    before, block, after = job.summary.split("```")  # one fence, whatever the values contain
    assert block.startswith("diff\n")
    assert "<script>" in block
    assert "<script>" not in before + after
    assert "::add-mask::" not in job.out.replace("::stop-commands::", "")


def test_the_summary_names_files_of_the_job_that_a_change_edits(project: Project, tmp_path: Path) -> None:
    job, _ = hand_in(CASES["the workflow edited"], project, tmp_path)

    assert ".github differs from the base branch" in job.summary


def test_a_job_that_evaluates_again_needs_no_attestation_and_reads_no_predictions(
    project: Project, tmp_path: Path
) -> None:
    def attack(change: Change) -> None:
        forge(change)
        shutil.rmtree(change.root / "attestations")

    verdicts = []
    for folder, write in (("forged", attack), ("honest", lambda change: None)):
        (tmp_path / folder).mkdir()
        head, _ = propose(project.origin, "honest", tmp_path / folder, write, remote=project.remote)
        checkout = tmp_path / folder / "checkout"
        git(tmp_path, "clone", "--quiet", "--branch", "main", project.origin.as_uri(), str(checkout))
        git(checkout, "fetch", "--quiet", "origin", head)
        ended = run(checkout / PLACE, "gate", "pull-request", SET, "--head", head, "--evaluate", "--json")
        assert ended.code == 0, ended.err
        verdicts.append(json.loads(ended.out))

    assert verdicts[0] == verdicts[1]


def test_a_checkout_of_the_pull_request_itself_is_refused(project: Project, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--branch", "honest", project.origin.as_uri(), "checkout")
    head = git(tmp_path / "checkout", "rev-parse", "HEAD")

    ended = run(tmp_path / "checkout" / PLACE, "gate", "pull-request", SET, "--head", head)

    assert ended.code == 2
    assert "is a checkout of the pull request itself" in ended.err
