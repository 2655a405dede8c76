"""Check the wheel and the source distribution that `make dist` built, before they are published.

python tests/check_dist.py FOLDER
"""

import re
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path
from subprocess import run

from packaging.metadata import Metadata

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = {
    "fair_distill/py.typed",
    "fair_distill/report/page.css",
    "fair_distill/template/params.yaml",
    # `init --schedule` copies these; the links to their folders must have been followed.
    "fair_distill/template/flows/refresh.py",
    "fair_distill/template/flows/automations.yaml",
    "fair_distill/template/tasks/stages.py",
    "fair_distill/template/prefect.toml",
}


def check(folder: Path) -> None:
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"fair_distill-{version}.dist-info/METADATA")
    Metadata.from_email(metadata, validate=True)
    foreign = {name for name in names if not re.match(r"fair_distill(/|-[\d.]+\.dist-info/)", name)}
    assert not foreign, f"the wheel contains files outside the package: {sorted(foreign)}"
    assert names >= REQUIRED, f"the wheel lacks {sorted(REQUIRED - names)}"
    with tarfile.open(source) as archive:
        assert f"fair_distill-{version}/LICENSE" in archive.getnames(), "the source distribution lacks the licence"
    check_installed(wheel, version)


def check_installed(wheel: Path, version: str) -> None:
    """Check that the package's version is readable where only the wheel is installed, without its dependencies."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
        command = [python, "-c", "import fair_distill; print(fair_distill.__version__)"]
        printed = run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    assert printed == version, f"the wheel reports version {printed}; pyproject.toml names {version}"


if __name__ == "__main__":
    check(Path(sys.argv[1]))
