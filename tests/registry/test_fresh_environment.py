"""A consumer's own environment: the wheel and what it needs, no extras, no sources beside (`make test-light`)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import Bucket
from small_registry import NAME, local_registry, package, ship

pytestmark = pytest.mark.skipif(
    not os.environ.get("FAIR_DISTILL_LIGHT"), reason="FAIR_DISTILL_LIGHT is not set; make test-light makes a new venv"
)
ROOT = Path(__file__).parents[2]
ONE = package(1)
HEAVY = ("torch", "scipy", "pandas", "ot", "sklearn", "prefect", "dvc", "great_expectations", "PIL", "pytest")
CONSUMER = f"""
import importlib.util, json, sys, time
began = time.perf_counter()
import fair_distill
took = time.perf_counter() - began
digits = fair_distill.load("{NAME}@production")
images, labels = digits.to_numpy()
print(json.dumps({{
    "there": [name for name in {HEAVY} if importlib.util.find_spec(name)],
    "from": fair_distill.__file__,
    "import_seconds": took,
    "images": images.tobytes().hex(),
    "labels": labels.tolist(),
    "rows": digits.to_arrow().num_rows,
    "steps": digits.card.recipe.steps,
}}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment, into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("light")
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    for command in (
        ["uv", "build", "--quiet", "--wheel", "--out-dir", str(folder / "dist"), str(ROOT)],
        [sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")],
    ):
        subprocess.run(command, check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    interpreter = folder / "venv" / "bin" / "python"
    install = ["uv", "pip", "install", "--quiet", "--python", str(interpreter), *constraints, str(wheel)]
    subprocess.run(install, check=True)
    return interpreter


def consume(python: Path, folder: Path, registry: str, *command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"FAIR_DISTILL_REGISTRY": registry, "FAIR_DISTILL_CACHE": str(folder / "cache")}
    done = subprocess.run([python, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(said: dict[str, Any], python: Path) -> None:
    assert said["there"] == []
    assert Path(said["from"]).is_relative_to(python.parents[1])
    assert bytes.fromhex(said["images"]) == ONE.set.images.tobytes()
    assert said["labels"] == ONE.set.labels.tolist()
    assert (said["rows"], said["steps"]) == (4, 2)
    print(f"import fair_distill took {said['import_seconds']:.3f} s")


def test_a_consumer_loads_from_a_folder_with_the_light_install(python: Path, tmp_path: Path):
    ship(local_registry(tmp_path / "registry"), ONE)

    check(json.loads(consume(python, tmp_path, str(tmp_path / "registry"), "-c", CONSUMER)), python)


def test_a_consumer_loads_from_a_bucket_with_the_light_install(python: Path, tmp_path: Path, server: Bucket):
    ship(server.store(), ONE)

    check(json.loads(consume(python, tmp_path, server.url, "-c", CONSUMER)), python)


def test_a_consumer_s_commands_need_no_more_than_the_light_install(python: Path, tmp_path: Path):
    ship(local_registry(tmp_path / "registry"), ONE)
    main = "import sys; from fair_distill.cli import main; sys.exit(main())"

    def said(*command: str) -> str:
        return consume(python, tmp_path, str(tmp_path / "registry"), "-c", main, *command)

    assert "all verified" in said("verify", NAME)
    assert said("card", f"{NAME}@production").startswith(f"# {NAME}@production\n")
    assert "is v1 in" in said("pin", f"{NAME}@production")
    assert said("outdated") == "1 pins, all up to date\n"
    assert len(said("log", NAME).splitlines()) == 4
    assert json.loads(said("head", NAME))["subject"][0]["name"] == NAME
