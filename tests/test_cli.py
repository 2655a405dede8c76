"""What the command line does with good input and bad: exit codes, one line on stderr, nothing half-written."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_workspace import SETS, Ended, run, small_params, tree, write_params

from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.data.split_file import read_split, write_split
from fair_distill.files import to_json
from fair_distill.gate.predictions import Predictions
from fair_distill.registry.manifest import SET_FILE, FileEntry, Manifest, write_version
from fair_distill.workspace import Workspace


def refused(root: Path, *argv: str, code: int = 2) -> str:
    """Run a command that must fail in one line and leave every file as it was; return the line."""
    before = tree(root)
    ended = run(root, *argv)
    assert ended.code == code, ended.err
    assert ended.err.startswith("fair-distill: ")
    assert ended.err.count("\n") == 1
    assert ended.err.endswith("\n")
    assert ended.out == ""
    assert tree(root) == before
    return ended.err


def changed(root: Path, place: str, value: object) -> None:
    """Change one value of the workspace's params.yaml."""
    params: Any = small_params()
    *path, last = place.split(".")
    section = params
    for part in path:
        section = section[part]
    section[last] = value
    write_params(root, params)


def ended_well(ended: Ended) -> str:
    assert (ended.code, ended.err.count("Traceback")) == (0, 0), ended.err
    return ended.out


# --- help and usage ---------------------------------------------------------------------------------------------------


def test_help_names_every_exit_code(tmp_path: Path) -> None:
    words = " ".join(ended_well(run(tmp_path, "--help")).split())

    assert all(f"{code} " in words.partition("Exit codes: ")[2] for code in (0, 1, 2, 3, 4, 5, 70))


@pytest.mark.parametrize(
    "argv", [[], ["distil"], ["distill"], ["references"], ["prepare", "--fast"], ["judge", "a", "b"]]
)
def test_wrong_usage_exits_2(tmp_path: Path, argv: list[str]) -> None:
    ended = run(tmp_path, *argv)

    assert ended.code == 2
    assert "See fair-distill" in ended.err


# --- good input -------------------------------------------------------------------------------------------------------


def test_the_stages_write_what_their_workspace_says(finished: Path) -> None:
    at = Workspace(finished)
    for name in SETS:
        assert all(place(name).is_file() for place in (at.predictions, at.evaluation, at.rates, at.verdict))
        assert (at.set(name) / "manifest.json").is_file()
        assert (at.set(name) / SET_FILE).exists() == (name != "full")
    for name in ("pooled", "barycentric"):
        assert at.losses(name).read_text().startswith("step,loss\n1,")
        assert at.grid(name).read_bytes().startswith(b"\x89PNG")
    assert not [name for name in tree(finished) if "/." in name or name.endswith(".part")]


def test_sets_have_the_sizes_that_params_say(finished: Path) -> None:
    def examples(name: str) -> int:
        card = json.loads((Workspace(finished).set(name) / "manifest.json").read_bytes())["card"]
        assert card["name"] == name
        return int(card["examples"])

    train = len(read_split(Workspace(finished).split("train")))
    assert [examples(name) for name in SETS] == [train, 20, 20, 20, 20]


def test_every_stage_says_what_it_did_and_writes_the_same_bytes_again(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIR_DISTILL_PROGRESS", "lines")  # nobody watches a test, so it has to be asked for
    before = tree(workspace)

    assert ended_well(run(workspace, "prepare")).count("10 classes × 2 groups") == 3
    progress = run(workspace, "distill", "pooled")
    assert ended_well(progress).startswith("pooled: 20 images, version ")
    last = json.loads(progress.err.splitlines()[-1])
    assert (last["stage"], last["set"], last["step"], last["of"]) == ("distill", "pooled", 5, 5)
    assert ended_well(run(workspace, "references", "random")).startswith("random: 20 real images")
    assert ended_well(run(workspace, "evaluate", "pooled")).startswith("pooled, convnet: accuracy ")
    assert ended_well(run(workspace, "judge", "pooled")).splitlines()[0] in {"pooled: PASS", "pooled: FAIL"}

    assert tree(workspace) == before


def test_the_table_shows_every_set_and_the_reasons(finished: Path) -> None:
    out = ended_well(run(finished, "table"))

    assert all(name in out for name in SETS)
    assert "pooled: accuracy: " in out
    assert "is below the limit 0.850" in out


def test_the_table_says_what_was_not_evaluated_yet(tmp_path: Path) -> None:
    write_params(tmp_path, small_params())

    assert ended_well(run(tmp_path, "table")).count("not evaluated") == len(SETS)


def test_metrics_lie_in_files_and_undefined_ones_are_null(finished: Path) -> None:
    report = json.loads(Workspace(finished).evaluation("pooled").read_bytes())

    assert set(report) == {"convnet", "mlp"}
    for of in report.values():
        assert 0 <= of["accuracy"] <= 1
        assert of["eo_diag_max"] <= of["mean_over_runs"]["eo_diag_max"] + 1e-12  # a maximum of means
        assert of["accuracy"] == pytest.approx(of["mean_over_runs"]["accuracy"])
        # Small networks never predict some class, and a ratio of its rates is then undefined.
        assert set(of.get("undefined", {})) <= {"selection_rate_ratio"}


# --- bad params -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["prepare"], ["distill", "pooled"], ["table"], ["enforce", "pooled"]])
def test_no_params_is_said_whatever_the_command(tmp_path: Path, command: list[str]) -> None:
    assert "params.yaml is missing; run this command in a workspace, or pass --workspace DIR" in refused(
        tmp_path, *command
    )


@pytest.mark.parametrize(
    ("place", "value", "command", "says"),
    [
        ("recipe.epochs", 3, ["prepare"], "recipe.epochs is not a known key"),
        ("seed", float("nan"), ["prepare"], "seed is nan; it must be a valid integer"),
        ("data.source", "cifar", ["prepare"], "data.source.name is 'cifar'; choose one of digits"),
        ("data.source", {"name": "digits", "size": 4}, ["prepare"], "data.source.size is 4"),
        (
            "data.splits",
            {"train": 0.9998, "tune": 0.0001, "gate": 0.0001},
            ["prepare"],
            "it needs at least one. Correct params.yaml: data.splits",
        ),
        ("distill.matcher", "dn", ["distill", "pooled"], "distill.matcher is 'dn'; choose one of dm"),
        ("distill.network", "convent", ["distill", "pooled"], "network.name is 'convent'; choose one of convnet"),
        ("distill.network.depth", 4, ["distill", "pooled"], "8×8 pixels allow a depth of at most 3"),
        ("distill.network.width", -1, ["distill", "pooled"], "network 'convnet': width is -1"),
        ("distill.augment", ["spin"], ["distill", "pooled"], "augment names 'spin'"),
        ("distill.ipc", 150, ["distill", "pooled"], "ipc is 150. Lower distill.ipc"),
        ("distill.ipc", 150, ["references", "random"], "ipc is 150. Lower distill.ipc"),
        ("candidates.barycentric.barycenter", "medoid", ["distill", "barycentric"], "barycenter is 'medoid'"),
        ("candidates.barycentric.group_weights", {"red": 1.0}, ["distill", "barycentric"], "groups are red, cyan"),
        ("gate.limits", [{"metric": "eod", "at_most": 0.1, "why": "x"}], ["judge", "pooled"], "metric 'eod'"),
        ("gate.limits", [{"metric": "eod", "at_most": 0.1, "why": "x"}], ["enforce", "pooled"], "metric 'eod'"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_place(
    workspace: Path, place: str, value: object, command: list[str], says: str
) -> None:
    changed(workspace, place, value)

    assert says in refused(workspace, *command)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["distill", "pool"], "candidates has no 'pool'; choose one of pooled, barycentric"),
        (["distill", "random"], "candidates has no 'random'"),
        (["references", "pooled"], "references has no 'pooled'; choose one of full, random, balanced"),
        *(
            (["evaluate", name], f"sets has no {name!r}; choose one of full, random")
            for name in ("nobody", "../pooled")
        ),
        (["judge", "nobody"], "sets has no 'nobody'"),
        (["enforce", "nobody"], "sets has no 'nobody'"),
        *((["distill", "pooled", "--device", device], f"--device {device}: ") for device in ("gpu", "meta", "hpu", "")),
        (["evaluate", "pooled", "--device", "gpu"], "--device gpu: "),
    ],
)
def test_a_name_that_is_not_there_is_refused(finished: Path, command: list[str], says: str) -> None:
    assert says in refused(finished, *command)


def test_a_learning_rate_that_diverges_is_a_measurement_error(workspace: Path) -> None:
    changed(workspace, "distill.optimiser.learning_rate", 1e30)
    before = tree(workspace)

    ended = run(workspace, "distill", "pooled")

    assert ended.code == 4
    assert ended.err.splitlines()[-1].endswith("lower params.yaml: distill.optimiser.learning_rate (it is 1e+30)")
    assert tree(workspace) == before


# --- bad files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "missing", "says"),
    [
        (["distill", "pooled"], "artifacts/validation.json", "`fair-distill stage validate`"),
        (["references", "random"], "artifacts/validation.json", "`fair-distill stage validate`"),
        (["distill", "pooled"], "artifacts/prepared/train.arrow", "`fair-distill stage prepare`"),
        (["validate"], "artifacts/prepared/tune.arrow", "`fair-distill stage prepare`"),
        (["evaluate", "pooled"], "artifacts/prepared/gate.arrow", "`fair-distill stage prepare`"),
        (
            ["evaluate", "pooled"],
            "artifacts/sets/pooled/manifest.json",
            "`fair-distill stage distill pooled`",
        ),
        (
            ["evaluate", "pooled"],
            "artifacts/sets/pooled/set.parquet",
            "`fair-distill stage distill pooled`",
        ),
        (
            ["evaluate", "random"],
            "artifacts/sets/random/manifest.json",
            "`fair-distill stage references random`",
        ),
    ],
)
def test_a_missing_file_says_which_command_writes_it(
    workspace: Path, command: list[str], missing: str, says: str
) -> None:
    (workspace / missing).unlink()

    line = refused(workspace, *command)

    assert f"{workspace / missing} is missing; " in line
    assert says in line


@pytest.mark.parametrize("command", ["judge", "enforce", "explain"])
@pytest.mark.parametrize(
    ("missing", "fix"),
    [
        ("artifacts/predictions/pooled.parquet", "run `fair-distill stage evaluate pooled`"),
        ("artifacts/sets/pooled/manifest.json", "run `fair-distill stage distill pooled`"),
        ("artifacts/prepared/gate.arrow", "run `fair-distill stage prepare`"),
        ("context.json", "run `echo {} > context.json`"),
    ],
)
def test_a_verdict_needs_every_file_and_says_how_to_make_it(
    workspace: Path, command: str, missing: str, fix: str
) -> None:
    (workspace / missing).unlink()

    line = refused(workspace, command, "pooled", code=4)

    assert f"{workspace / missing} is missing; {fix}" in line


@pytest.mark.parametrize("content", [b"", b"random bytes" * 99, b"PAR1", b"ARROW1\x00\x00"])
@pytest.mark.parametrize("command", [["distill", "pooled"], ["references", "random"], ["validate"]])
def test_a_corrupt_split_is_refused(workspace: Path, command: list[str], content: bytes) -> None:
    Workspace(workspace).split("train").write_bytes(content)

    assert "train.arrow is not a prepared split" in refused(workspace, *command)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"failures": 3}', '{"failures": [{}]}', '{"failures": ["bad"]}'])
def test_an_outcome_of_validation_that_is_none_is_refused(workspace: Path, content: str) -> None:
    Workspace(workspace).validation.write_text(content)

    assert "validation.json" in refused(workspace, "distill", "pooled")


def test_what_validation_refused_is_not_distilled(workspace: Path) -> None:
    failures = [
        {"severity": severity, "sentence": f"this is {severity} {i}"}
        for i, severity in enumerate(("warn", "error", "error"))
    ]
    Workspace(workspace).validation.write_bytes(to_json({"success": False, "failures": failures}))

    for command in (["distill", "pooled"], ["references", "random"]):
        assert "validation refused the data: this is error 1 (and 1 more in " in refused(workspace, *command)

    Workspace(workspace).validation.write_bytes(to_json({"success": True, "failures": failures[:1]}))

    ended_well(run(workspace, "distill", "pooled"))


def test_a_class_without_examples_is_refused(workspace: Path) -> None:
    path = Workspace(workspace).split("train")
    whole = read_split(path)
    kept = whole.labels != 3
    write_split(
        GroupedDataset.from_arrays(
            whole.images[kept],
            whole.labels[kept],
            whole.group_indices[kept],
            classes=whole.classes,
            groups=whole.groups,
        ),
        path,
    )

    assert "class '3' has no examples in train" in refused(workspace, "distill", "pooled")
    assert "class '3' has 0 examples in train; ipc is 2" in refused(workspace, "references", "random")


def resigned(root: Path, content: bytes) -> None:
    """Put another file in the place of the pooled set, with a manifest that fits it."""
    folder = Workspace(root).set("pooled")
    manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
    entry = FileEntry.describe(SET_FILE, content)
    write_version(folder, replace(manifest, files=(entry,)), {SET_FILE: content})


def test_a_set_with_pixels_that_are_no_numbers_is_refused_even_if_its_digest_is_right(workspace: Path) -> None:
    path = Workspace(workspace).set("pooled") / SET_FILE
    table = pq.read_table(path)
    images = table.column("image").combine_chunks().to_numpy_ndarray().copy()
    images[3, 0, 0, 0] = np.nan
    spoilt = table.set_column(0, table.schema.field(0), pa.FixedShapeTensorArray.from_numpy_ndarray(images))
    sink = pa.BufferOutputStream()
    pq.write_table(spoilt, sink)
    resigned(workspace, bytes(sink.getvalue()))

    assert "pixels that are not finite" in refused(workspace, "evaluate", "pooled")


def test_a_file_that_is_no_set_is_refused_even_if_its_digest_is_right(workspace: Path) -> None:
    resigned(workspace, b"no parquet")

    assert "set.parquet is not a distilled set" in refused(workspace, "evaluate", "pooled")


@pytest.mark.parametrize("where", [0, 0.5, -1])
def test_one_flipped_byte_in_a_set_is_an_integrity_error(workspace: Path, where: float) -> None:
    path = Workspace(workspace).set("pooled") / SET_FILE
    content = bytearray(path.read_bytes())
    content[int(where * len(content)) if 0 < where < 1 else int(where)] ^= 1
    path.write_bytes(bytes(content))

    assert "set.parquet is not the file in its manifest" in refused(workspace, "evaluate", "pooled", code=5)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace('"engine": ', '"engine":  '),
        lambda text: text + "\n",
        lambda text: text.replace("\n", ""),
        lambda text: text.replace('"engine": ', '"engine": 1, "engine": '),
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"set.parquet"', '"../set.parquet"'),
        lambda text: text.replace('"set.parquet"', '"/etc/passwd"'),
        lambda text: text.replace('"source"', '"sauce"'),
        lambda text: text[:-20],
        lambda text: "",
        lambda text: "[]",
    ],
)
def test_an_edited_manifest_is_an_integrity_error(workspace: Path, edit: Callable[[str], str]) -> None:
    path = Workspace(workspace).set("pooled") / "manifest.json"
    before = path.read_text()
    path.write_text(edit(before))
    assert path.read_text() != before

    assert "manifest" in refused(workspace, "evaluate", "pooled", code=5)


def test_a_reference_to_full_data_that_have_changed_is_an_integrity_error(workspace: Path) -> None:
    path = Workspace(workspace).split("train")
    whole = read_split(path)
    write_split(replace(whole, images=255 - whole.images), path)

    assert "is not the training split that the manifest of the set 'full' names" in refused(
        workspace, "evaluate", "full", code=5
    )


def test_a_training_that_diverges_is_a_measurement_error(workspace: Path) -> None:
    changed(workspace, "recipe.learning_rate", 1e30)
    ended_well(run(workspace, "references", "random"))

    assert "lower params.yaml: recipe.learning_rate" in refused(workspace, "evaluate", "random", code=4)


# --- enforce ----------------------------------------------------------------------------------------------------------


def limits(root: Path, **bounds: float) -> None:
    sides = {name: "at_least" if "accuracy" in name else "at_most" for name in bounds}
    changed(root, "gate.limits", [{"metric": name, sides[name]: bounds[name], "why": "a test"} for name in bounds])


def test_enforce_exits_0_for_a_pass_and_1_for_a_failure(workspace: Path) -> None:
    limits(workspace, eo_diag_max=1.0, accuracy=0.0)
    assert run(workspace, "enforce", "pooled").code == 0

    limits(workspace, accuracy=1.0)
    ended = run(workspace, "enforce", "pooled")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.startswith("pooled: FAIL\n  NO  accuracy: ")


def test_judge_exits_0_whatever_the_verdict(workspace: Path) -> None:
    limits(workspace, accuracy=1.0)

    assert ended_well(run(workspace, "judge", "pooled")).startswith("pooled: FAIL")


def test_enforce_trusts_no_stored_verdict_and_writes_none(workspace: Path) -> None:
    limits(workspace, accuracy=1.0)
    path = Workspace(workspace).verdict("pooled")
    path.write_text(path.read_text().replace('"fail"', '"pass"'))
    before = tree(workspace)

    assert run(workspace, "enforce", "pooled").code == 1
    assert tree(workspace) == before


def test_enforce_exits_5_where_predictions_leave_examples_of_the_gate_split_out(workspace: Path) -> None:
    limits(workspace, eo_diag_max=1.0)
    path = Workspace(workspace).predictions("pooled")
    whole = Predictions.from_parquet(path.read_bytes())
    kept = (whole.columns["label"] != 3) | (whole.columns["group"] != 1)
    path.write_bytes(replace(whole, columns={name: c[kept] for name, c in whole.columns.items()}).to_parquet())

    ended = run(workspace, "enforce", "pooled")

    assert ended.code == 5
    assert "one for each example and network. Evaluate again" in ended.err


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_enforce_exits_4_where_the_predictions_cannot_be_read(workspace: Path, keep: int) -> None:
    path = Workspace(workspace).predictions("pooled")
    path.write_bytes(path.read_bytes()[:keep])

    assert "not a file of predictions" in refused(workspace, "enforce", "pooled", code=4)


@pytest.mark.parametrize("content", ["", "[]", '{"a": NaN}', '{"a": 1, "a": 2}'])
def test_a_context_that_is_no_object_is_refused(workspace: Path, content: str) -> None:
    Workspace(workspace).context.write_text(content)

    assert "context.json" in refused(workspace, "enforce", "pooled")


# --- as a program -----------------------------------------------------------------------------------------------------


def program(*argv: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    code = "import sys; from fair_distill.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_a_fault_of_ours_keeps_its_traceback_and_exits_70(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("fair_distill.stages.judge.judge_set", broken)

    ended = run(finished, "judge", "pooled")

    assert ended.code == 70
    assert ended.err.startswith("Traceback")
    assert ended.err.endswith("ZeroDivisionError: ours\n")


def test_a_reader_that_goes_away_is_no_error(finished: Path) -> None:
    code = "import sys; from fair_distill.cli import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, "--workspace", str(finished), "table"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


HEAVY = (
    *("torch", "scipy", "sklearn", "pandas", "great_expectations", "prefect", "dvc", "ot", "boto3", "botocore", "PIL"),
    *("tasks", "flows"),
)
NOT_FOR_HELP = (*HEAVY, "numpy", "pyarrow", "pydantic", "yaml", "rich")


@pytest.mark.parametrize(
    ("argv", "banned"),
    [
        (["--help"], NOT_FOR_HELP),
        (["enforce", "--help"], NOT_FOR_HELP),
        (["enforce", "pooled"], HEAVY),
        (["table"], HEAVY),
    ],
)
def test_the_light_half_starts_without_the_heavy_libraries(
    finished: Path, argv: list[str], banned: tuple[str, ...]
) -> None:
    code = (
        "import sys; from fair_distill.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print(*sorted(set({banned!r}) & set(sys.modules)), file=sys.stderr)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code, "--workspace", str(finished), *argv], capture_output=True, text=True, check=True
    )

    assert ended.stderr == "\n"
    assert ended.stdout


def test_bad_input_to_the_program_itself_is_one_line_and_exit_2(tmp_path: Path) -> None:
    ended = program("--workspace", str(tmp_path), "prepare")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("fair-distill: ")
    assert ended.stderr.count("\n") == 1


def test_a_coreset_is_a_reference_that_params_may_name(workspace: Path) -> None:
    changed(workspace, "references.balanced", {"select": "herding"})

    assert ended_well(run(workspace, "references", "balanced")).startswith("balanced: 20 real images\n")
    first = (Workspace(workspace).set("balanced") / SET_FILE).read_bytes()
    ended_well(run(workspace, "references", "balanced"))
    assert (Workspace(workspace).set("balanced") / SET_FILE).read_bytes() == first
