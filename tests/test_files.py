"""A file is there whole or not at all, and JSON has one spelling."""

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


def test_a_file_written_aside_appears_under_its_name_alone(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "new" / "file") as aside:
        aside.write_bytes(b"whole")
        assert not (tmp_path / "new" / "file").exists()

    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert (tmp_path / "new" / "file").read_bytes() == b"whole"


@pytest.mark.parametrize("before", [None, b"old"])
def test_an_exception_leaves_what_was_there(tmp_path: Path, before: bytes | None) -> None:
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
def test_a_kill_in_the_middle_leaves_what_was_there(tmp_path: Path, before: bytes | None) -> None:
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
    # What the dead process left cannot be taken for a result: it is hidden and has another suffix.
    left = {p.name for p in tmp_path.iterdir()} - {"file"}
    assert len(left) == 1
    assert all(name.startswith(".file.") and name.endswith(".part") for name in left)

    write_bytes(path, b"new")

    assert path.read_bytes() == b"new"


def test_a_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["a file/file", "a folder"])
def test_a_place_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_bytes(b"")
    (tmp_path / "a folder").mkdir()

    with pytest.raises(ConfigError, match=f"^cannot write .*{name}: [^\n]+$"):
        write_bytes(tmp_path / name, b"")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "a folder"]


def test_a_missing_file_says_which_command_writes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent is missing; run `fair-distill prepare`, which writes it"):
        require_file(tmp_path / "absent", made_by="fair-distill prepare")

    assert require_file(tmp_path, made_by="nobody") == tmp_path


def test_every_file_of_a_workspace_has_a_place_of_its_own() -> None:
    at = Workspace(Path("w"))
    by_name = (at.split, at.set, at.losses, at.predictions, at.evaluation, at.rates, at.verdict, at.grid)
    places = [at.params, at.validation, at.context, *(place(name) for place in by_name for name in ("a", "b"))]

    assert len(set(places)) == len(places) == 19
    assert all(place.is_relative_to("w") for place in places)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), JSON_VALUES))
def test_json_reads_back_as_it_was_written_and_has_one_spelling(value: dict[str, object]) -> None:
    content = to_json(value)

    assert parse_json(content, name="it") == json.loads(content) == value
    assert to_json(parse_json(content, name="it")) == content
    assert to_json({key: value[key] for key in sorted(value, reverse=True)}) == content


def test_json_is_utf8_and_knows_no_nan() -> None:
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
        b'{"a": 1e999}',  # infinite without saying so
        b'{"a": 9223372036854775808}',
        b'{"a": [-9223372036854775809]}',
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b"{'a': 1}",
    ],
)
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^it is not readable JSON: [^\n]+$"):
        parse_json(content, name="it")


@pytest.mark.parametrize(("content", "got"), [(b"[1]", "list"), (b"null", "NoneType"), (b"1", "int"), (b'"a"', "str")])
def test_json_that_is_no_object_is_refused_as_the_caller_wishes(content: bytes, got: str) -> None:
    with pytest.raises(IntegrityError, match=f"^it contains a JSON {got}; a JSON object is required$"):
        parse_json(content, name="it", error=IntegrityError)


def test_a_digest_is_of_the_bytes_wherever_they_are(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)

    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "file") == sha256(content) == hashlib.sha256(content).hexdigest()
