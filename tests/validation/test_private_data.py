"""`privacy: restricted`: what is printed and kept names no example, shows no value, and has no picture."""

import hashlib
import hmac
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_rows import dataset as small_dataset
from small_workspace import grouped, run, small_params, write_params

from fair_distill.config import Validate, checked
from fair_distill.errors import ConfigError
from fair_distill.files import to_json
from fair_distill.registry.store import PREDICTIONS_VARIABLE
from fair_distill.validation.contract import validate
from fair_distill.validation.ids import ENVIRONMENT, IdFormatter, read_salt
from fair_distill.workspace import Workspace

SALT = "a secret of sixteen or more"
RESTRICTED = {"minimum_per_cell": 1, "maximum_imbalance": 100.0, "privacy": "restricted"}


def test_a_salted_id_is_the_keyed_hash_of_it() -> None:
    expected = hmac.new(SALT.encode(), b"person 7", hashlib.sha256).hexdigest()[:12]

    assert IdFormatter("example", SALT.encode()).sample(["person 7"]) == (expected,)
    assert IdFormatter("example", b"another salt, as long").sample(["person 7"]) != (expected,)
    assert IdFormatter("pair").sample([10, 9, 9]) == (9, 10)


def test_the_order_of_salted_ids_tells_nothing_of_the_ids() -> None:
    salted = IdFormatter("pair", SALT.encode())

    assert salted.sample(range(5)) == salted.sample(reversed(range(5))) == tuple(sorted(salted.sample(range(5))))
    assert salted.phrase(range(7)) == f"pairs {', '.join(salted.sample(range(7)))} and 2 more"


@pytest.mark.parametrize("salt", ["", "too short"])
def test_no_secret_is_no_salt(salt: str) -> None:
    with pytest.raises(ConfigError, match=rf"{ENVIRONMENT}.*openssl rand -hex 32") as raised:
        read_salt({ENVIRONMENT: salt})

    assert not salt or salt not in str(raised.value)


def test_no_id_and_no_value_of_a_row_is_told() -> None:
    train, gate = small_dataset(80), small_dataset(40, seed=1)
    object.__setattr__(gate, "pairs", gate.pairs + 7_000_000)
    gate.images[3, 0] = 4321  # an age, far out of range
    gate.images[3, 1] = np.inf
    rules = checked(Validate, RESTRICTED | {"severity": {"leak": "off"}}, name="test")

    outcome = validate({"train": train, "gate": gate}, rules, salt=SALT.encode())
    written = to_json(outcome.to_dict()).decode()

    name = IdFormatter("pair", SALT.encode()).sample([int(gate.pairs[3])])[0]
    assert {it.examples for it in outcome.failures if it.column in ("row.age", "finite")} == {(name,)}
    assert outcome.privacy == "restricted"
    for secret in ("4321", "7000003", SALT):
        assert secret not in written


def test_no_value_that_a_teams_own_expectation_saw_is_told() -> None:
    entry = {"name": "ExpectColumnMaxToBeBetween", "table": "train", "column": "maximum", "max_value": 3}
    rules = RESTRICTED | {"own": [entry], "severity": {"near": "off"}}
    splits = {"train": grouped([[3, 3], [3, 3]])}
    salted = validate(splits, checked(Validate, rules, name="test"), salt=SALT.encode())
    open_outcome = validate(splits, checked(Validate, rules | {"privacy": "open"}, name="test"))

    assert "observed" in open_outcome.failures[0].sentence
    assert "observed" not in salted.failures[0].sentence


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose data are restricted, up to an evaluated set."""
    root = tmp_path_factory.mktemp("restricted")
    params = small_params()
    params["validate"] |= {"privacy": "restricted", "minimum_per_cell": 20, "severity": {"support": "warn"}}
    params["distill"]["steps"] = 1
    write_params(root, params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT, SALT)
        for command in (("prepare",), ("validate",), ("distill", "barycentric"), ("evaluate", "barycentric")):
            ended = run(root, *command)
            assert ended.code == 0, ended.err
    return root


def test_without_a_salt_nothing_is_validated(workspace: Path) -> None:
    for command in (["validate"], ["data", "describe"]):
        ended = run(workspace, *command)

        assert ended.code == 2
        assert ended.err.count("\n") == 1
        assert ENVIRONMENT in ended.err


def test_ids_in_validation_json_are_salted_and_the_salt_is_nowhere(workspace: Path) -> None:
    outcome = json.loads(Workspace(workspace).validation.read_bytes())
    named = [example for failure in outcome["failures"] for example in failure["examples"]]

    assert named
    assert all(isinstance(name, str) and len(name) == 12 for name in named)
    for path in workspace.rglob("*"):
        assert not path.is_file() or SALT.encode() not in path.read_bytes()


def test_the_set_is_not_shown_and_beside_it_stands_no_sentence(workspace: Path) -> None:
    from PIL import Image

    with Image.open(Workspace(workspace).grid("barycentric")) as picture:
        assert len(picture.getcolors() or ()) == 1
    provenance = json.loads((Workspace(workspace).set("barycentric") / "provenance.json").read_bytes())
    assert list(provenance["data"]) == ["warnings"]
    assert all(len(warning.split()) == 4 for warning in provenance["data"]["warnings"])  # support in train: 9


def test_predictions_are_published_apart_or_not_at_all(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run(workspace, "publish")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert PREDICTIONS_VARIABLE in refused.err
    assert not (workspace / "registry").exists()

    monkeypatch.setenv(PREDICTIONS_VARIABLE, str(workspace / "private"))
    published = run(workspace, "publish")

    assert published.code == 0, published.err
    kept_apart = {path.suffix for path in (workspace / "private").rglob("*") if path.is_file()}
    assert kept_apart == {".parquet", ".bin"}  # predictions, and the digests of the gate split's examples
    assert not [*(workspace / "registry").rglob("predictions"), *(workspace / "registry").rglob("*.bin")]
    verify = ("verify", "digits@v1", "--registry", str(workspace / "registry"))
    assert run(workspace, *verify).code == 0


def test_the_report_shows_no_images_of_it(finished: Path, tmp_path: Path) -> None:
    open_to_all = Path(shutil.copytree(finished, tmp_path / "open"))
    page = Workspace(open_to_all).report("barycentric")
    assert run(open_to_all, "report", "barycentric").code == 0
    assert "data:image/png" in page.read_text()

    write_params(open_to_all, small_params() | {"validate": RESTRICTED})
    assert run(open_to_all, "report", "barycentric").code == 0
    assert "data:image/png" not in page.read_text()
