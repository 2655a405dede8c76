"""One copy of the bytes: what `publish` lays down, DVC pulls, and `load` reads."""

import os
import subprocess
import sys
from pathlib import Path

from places import Folder, Place
from small_registry import NAME, package, publish

from fair_distill.registry.client import load
from fair_distill.registry.layout import object_key
from fair_distill.registry.manifest import MANIFEST_FILE, PROVENANCE_FILE, SET_FILE, write_version

ONE = package(1)


def dvc(workspace: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=workspace,
        env={**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_GLOBAL_CONFIG_DIR": str(workspace / "nobodys")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def tracked(workspace: Path, published: Place) -> Path:
    """Let DVC track the folder of a set, in a workspace whose remote `published` is the registry; return the folder."""
    endpoint = "" if isinstance(published, Folder) else f"    endpointurl = {os.environ['AWS_ENDPOINT_URL']}\n"
    config = f"[core]\n    no_scm = true\n['remote \"published\"']\n    url = {published.url}/objects\n{endpoint}"
    (workspace / ".dvc").mkdir(parents=True)
    (workspace / ".dvc" / "config").write_text(config)
    folder = workspace / "set"
    write_version(folder, ONE.manifest, ONE.files)
    (folder / PROVENANCE_FILE).write_bytes(ONE.provenance)
    dvc(workspace, "add", "set")
    return folder


def test_a_user_of_dvc_pulls_the_very_bytes_that_load_reads_and_has_none_to_push(place: Place, tmp_path: Path):
    folder = tracked(tmp_path / "maker", place)
    publish(place.store(), ONE)
    before = place.files()
    dvc(folder.parent, "push", "--remote", "published")
    assert place.files() == before
    (tmp_path / "user").mkdir()
    for needed in ("set.dvc", ".dvc/config"):
        (tmp_path / "user" / needed).parent.mkdir(exist_ok=True)
        (tmp_path / "user" / needed).write_bytes((folder.parent / needed).read_bytes())

    dvc(tmp_path / "user", "pull", "--remote", "published")

    pulled = {path.name: path.read_bytes() for path in (tmp_path / "user" / "set").iterdir()}
    assert pulled == {**ONE.files, MANIFEST_FILE: ONE.manifest.to_json(), PROVENANCE_FILE: ONE.provenance}
    assert place.files() == before
    assert load(f"{NAME}@v1", registry=place.url).images.tobytes() == ONE.set.images.tobytes()
    # The set lies there once, where its manifest says.
    assert [key for key, content in before.items() if content == ONE.files[SET_FILE]] == [
        object_key(ONE.manifest.files[0].md5)
    ]
