"""Files are written completely or not at all, and equal JSON values have equal bytes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fair_distill.errors import ConfigError, DataError, IntegrityError
from fair_distill.files import atomic_file, parse_json, require_file, sha256, to_json, write_bytes
from fair_distill.workspace import Workspace

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def test_a_file_appears_only_under_its_final_name(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "new" / "file") as aside:
        aside.write_bytes(b"whole")
        assert not (tmp_path / "new" / "file").exists()

    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert (tmp_path / "new" / "file").read_bytes() == b"whole"


@pytest.mark.parametrize("before", [None, b"old"])
def test_an_exception_leaves_the_previous_file(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)

    def half() -> None:
        with atomic_file(path) as aside:
            aside.write_bytes(b"ha")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()

    assert [p.name for p in tmp_path.iterdir()] == ([] if before is None else ["file"])
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_killed_writer_leaves_the_previous_file(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    program = (
        "import os, pathlib, signal, sys; from fair_distill.files import atomic_file\n"
        "with atomic_file(pathlib.Path(sys.argv[1])) as aside:\n"
        "    aside.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)

    assert ended.returncode == -signal.SIGKILL
    assert path.exists() == (before is not None)
    assert before is None or path.read_bytes() == before
    # The temporary file of the killed process is hidden and has another suffix, so no command reads it as a result.
    left = {p.name for p in tmp_path.iterdir()} - {"file"}
    assert len(left) == 1
    assert all(name.startswith(".file.") and name.endswith(".part") for name in left)

    write_bytes(path, b"new")

    assert path.read_bytes() == b"new"


def test_the_permissions_of_a_file_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["a file/file", "a folder"])
def test_an_unwritable_folder_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_bytes(b"")
    (tmp_path / "a folder").mkdir()

    with pytest.raises(ConfigError, match=f"^cannot write .*{name}: [^\n]+$"):
        write_bytes(tmp_path / name, b"")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "a folder"]


def test_a_missing_file_says_which_command_writes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent is missing; run `fair-distill stage prepare`, which writes it"):
        require_file(tmp_path / "absent", made_by="fair-distill stage prepare")

    assert require_file(tmp_path, made_by="nobody") == tmp_path


def test_no_two_files_of_a_workspace_share_a_path() -> None:
    at = Workspace(Path("w"))
    by_name = (at.split, at.set, at.losses, at.predictions, at.evaluation, at.rates, at.verdict, at.grid)
    places = [at.params, at.validation, at.context, *(place(name) for place in by_name for name in ("a", "b"))]

    assert len(set(places)) == len(places) == 19
    assert all(place.is_relative_to("w") for place in places)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), JSON_VALUES))
def test_json_reads_back_unchanged_and_equal_values_have_equal_bytes(value: dict[str, object]) -> None:
    content = to_json(value)

    assert parse_json(content, name="it") == json.loads(content) == value
    assert to_json(parse_json(content, name="it")) == content
    assert to_json({key: value[key] for key in sorted(value, reverse=True)}) == content


def test_json_is_utf8_without_nan() -> None:
    assert to_json({"b": "é", "a": (1, 2)}) == '{\n "a": [\n  1,\n  2\n ],\n "b": "é"\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"a": float("nan")})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"a": 1} x',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": [-Infinity]}',
        b'{"a": 1e999}',  # overflows to infinity
        b'{"a": 9223372036854775808}',
        b'{"a": [-9223372036854775809]}',
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b"{'a': 1}",
    ],
)
def test_invalid_json_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^it is not readable JSON: [^\n]+$"):
        parse_json(content, name="it")


@pytest.mark.parametrize(("content", "got"), [(b"[1]", "list"), (b"null", "NoneType"), (b"1", "int"), (b'"a"', "str")])
def test_json_that_is_not_an_object_raises_the_error_of_the_caller(content: bytes, got: str) -> None:
    with pytest.raises(IntegrityError, match=f"^it contains a JSON {got}; a JSON object is required$"):
        parse_json(content, name="it", error=IntegrityError)


def test_a_file_and_its_bytes_have_the_same_digest(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)

    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "file") == sha256(content) == hashlib.sha256(content).hexdigest()
