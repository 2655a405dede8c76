import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings
from small_workspace import CANDIDATES, REFERENCES, SETS, run, small_params, write_params

# Small arrays are slower on two threads, and two threads wait for each other when the machine is busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples every time, and no clock: a busy machine is not a fault.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small workspace in which every stage ran once. Read only: `workspace` is a copy to break."""
    root = tmp_path_factory.mktemp("finished")
    write_params(root, small_params())
    (root / "context.json").write_text("{}\n")
    stages = (("distill", CANDIDATES), ("references", REFERENCES), ("evaluate", SETS), ("judge", SETS))
    for command in [["prepare"], ["validate"], *([stage, name] for stage, names in stages for name in names)]:
        ended = run(root, *command)
        assert ended.code == 0, f"{' '.join(command)}: {ended.err}"
    return root


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished workspace."""
    return Path(shutil.copytree(finished, tmp_path / "workspace"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, which the product does not need."""
    folder = os.environ.get("FAIR_DISTILL_DATA")
    if not folder:
        pytest.skip("FAIR_DISTILL_DATA is not set; it names the folder of real data sets")
    return Path(folder)
