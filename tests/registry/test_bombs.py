"""What drowns a reader that takes a file's word for its size: refused, in little memory, with a reason."""

import subprocess
import sys
from pathlib import Path

import pytest
from bombs import BOMBS, REFERENCE

# Without bounds most of these take from 400 MB to 6 GB. What remains is the largest JSON that may be read, 16 MB, and
# what pyarrow's threads reserve.
MOST_MB = 120
ADDRESS_SPACE_MB = 3072


def read(call: str, root: Path, *, limit_mb: int = ADDRESS_SPACE_MB) -> tuple[int, int, str]:
    """Return exit code, growth in MB and message of a reader in a process of its own."""
    script = Path(__file__).with_name("read_measured.py")
    ended = subprocess.run(
        [sys.executable, str(script), call, str(root), REFERENCE, str(limit_mb)],
        capture_output=True,
        text=True,
        check=False,
        env={"FAIR_DISTILL_CACHE": "", "PATH": "", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    code, grown, line = ended.stdout.rstrip("\n").split(" ", 2)
    return int(code), int(grown), line


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_memory(name: str, tmp_path: Path) -> None:
    root = tmp_path / "registry"

    code, grown, line = read(BOMBS[name](root), root)

    # A statement that nobody asked for is ignored: one that is too large costs nothing and stops no consumer.
    assert code == (0 if name == "huge statement" else 5), line
    assert "\n" not in line
    assert grown < MOST_MB, line


def test_what_is_no_bomb_is_read(tmp_path: Path) -> None:
    from bombs import MADE
    from small_registry import local_registry, publish

    publish(local_registry(tmp_path), MADE)

    assert read("load", tmp_path)[0] == read("verify", tmp_path)[0] == 0
