"""Every row of a CSV file is read, or the file is refused with the line."""

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fair_distill.data.files.csv_text import Csv, count_rows, header_of
from fair_distill.data.files.input_file import InputFile
from fair_distill.data.files.tables import table_batches
from fair_distill.data.sources import read_source
from fair_distill.errors import ConfigError, DataError

HEADER = ["a", "y", "g", "notes"]
VALUES = st.text(st.sampled_from(list("ab é,;\"'\n")), max_size=6)
ROWS = st.lists(st.lists(VALUES, min_size=4, max_size=4), min_size=1, max_size=12)
MANY = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def text_of(rows: Sequence[Sequence[str]], **dialect: object) -> str:
    sink = io.StringIO(newline="")
    csv.writer(sink, **dialect).writerows([HEADER, *rows])  # type: ignore[arg-type]
    return sink.getvalue()


def written(folder: Path, content: bytes, name: str = "p.csv") -> InputFile:
    (folder / name).write_bytes(content)
    return InputFile.local(folder / name)


def cells(file: InputFile, dialect: Csv | None = None) -> list[list[str]]:
    """All values, after the check that `prepare` makes."""
    expected = count_rows(file, dialect or Csv())
    columns = [
        [value for batch in table_batches(file, [name], 2**20, csv=dialect) for value in batch.column(name).to_pylist()]
        for name in HEADER
    ]
    assert expected == len(columns[0])
    return [list(row) for row in zip(*columns, strict=True)]


@MANY
@given(
    rows=ROWS,
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_every_table_is_read_as_it_was_written(
    rows: list[list[str]], delimiter: str, quoting: int, end: str, tmp_path: Path
) -> None:
    text = text_of(rows, delimiter=delimiter, quoting=quoting, lineterminator=end)
    # A value with whole rows is refused; see below.
    assume(all(line.count(delimiter) != 3 for row in rows for value in row for line in value.split("\n")[1:-1]))

    assert cells(written(tmp_path, text.encode()), Csv(delimiter=delimiter)) == rows


@MANY
@given(rows=ROWS, data=st.data(), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_one_quote_too_many_or_too_few_loses_no_row(
    rows: list[list[str]], data: st.DataObject, quoting: int, tmp_path: Path
) -> None:
    text = text_of(rows, quoting=quoting, lineterminator="\n")
    position = data.draw(st.integers(len(text_of([], lineterminator="\n", quoting=quoting)), len(text)))
    damaged = text[:position] + ('"' if text[position : position + 1] != '"' else "") + text[position:]
    if damaged == text:
        damaged = text[:position] + text[position + 1 :]

    try:
        assert len(cells(written(tmp_path, damaged.encode()))) == len(rows)
    except DataError:
        return  # a refusal is right too


def lines(n: int, changes: dict[int, str]) -> bytes:
    """A header and n rows of four values; the changed lines replace whole lines, counted from 1."""
    rows = ["a,y,g,notes", *(f"{i % 17},p,f,fine" for i in range(n))]
    for line, text in changes.items():
        rows[line - 1] = text
    return ("\n".join(rows) + "\n").encode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({522: '1,p,f,"tall'}, "line 522: a quoted value is not closed"),
        ({522: '1,p,f,"tall', 700: '2,p,f,"short"'}, "line 700: the end of a quoted value is followed by .* line 522"),
        (
            {522: '1,p,f,"tall', 523: '2,p,f,short"'},
            "line 522: a quoted value contains the end of this row and the start",
        ),
        (
            {522: '1,"p,f,tall', 523: '2,p",f,short'},
            "line 522: a quoted value contains the end of this row and the start",
        ),
        ({522: '1,p,f,"tall', 700: '2,p,f,short"'}, "line 522: a quoted value contains 177 lines that look like rows"),
        ({10: '1,"p" ,f,fine'}, "line 10: the end of a quoted value is followed by other characters"),
        ({10: r'1,"p\"q",f,fine'}, "line 10: the end of a quoted value is followed by other characters"),
        ({10: "1,p,f"}, "line 10 has 3 values, but the header has 4"),
        ({10: "1,p,f,fine,more"}, "line 10 has 5 values, but the header has 4"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(changes: dict[int, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        cells(written(tmp_path, lines(1000, changes)))

    assert "\n" not in str(caught.value)


def test_a_quote_inside_an_unquoted_value_is_a_character(tmp_path: Path) -> None:
    read = cells(written(tmp_path, lines(5, {3: '5" pipe,p,f,12"'})))

    assert read[1] == ['5" pipe', "p", "f", '12"']
    assert len(read) == 5


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + lines(3, {}),
        b"\n\r\n\n" + lines(3, {}),
        b"\xef\xbb\xbf\n" + lines(3, {}),
        lines(3, {}) + b"\n\n",
        lines(3, {}).replace(b"\n", b"\r\n\r\n"),
        lines(3, {}).replace(b"\n", b"\r"),
        lines(3, {})[:-1],
        gzip.compress(lines(3, {})),
        lines(3, {1: 'a,"y",g,"notes"'}),
    ],
    ids=[
        "mark",
        "empty",
        "mark and empty",
        "empty at the end",
        "double lines",
        "CR",
        "no end",
        "gzip",
        "quoted header",
    ],
)
def test_ordinary_variants_have_the_same_rows(content: bytes, tmp_path: Path) -> None:
    assert cells(written(tmp_path, content)) == [[str(i), "p", "f", "fine"] for i in range(3)]


def test_lines_of_a_file_with_comments_have_the_numbers_of_an_editor(tmp_path: Path) -> None:
    file = written(tmp_path, b"# one\n\n# two\n" + lines(5, {4: '1,p,f,"tall'}))

    with pytest.raises(DataError, match="line 7: a quoted value is not closed"):
        cells(file, Csv(comment="#"))


def test_a_comment_inside_a_quoted_value_is_refused_and_not_dropped(tmp_path: Path) -> None:
    file = written(tmp_path, lines(5, {4: '1,p,f,"tall\n# and thin"'}))

    with pytest.raises(DataError, match="line 5 is in a quoted value, but starts like a comment"):
        cells(file, Csv(comment="#"))


def test_a_header_may_have_a_line_break(tmp_path: Path) -> None:
    assert header_of(written(tmp_path, b'a,"b\nc",d\n1,2,3\n'), Csv()) == ["a", "b\nc", "d"]


@pytest.mark.parametrize("delimiter", ["é", '"', "\n"])
def test_a_delimiter_that_no_parser_has_is_refused(delimiter: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.source\.csv\.delimiter is"):
        header_of(written(tmp_path, lines(1, {})), Csv(delimiter=delimiter))


def test_another_delimiter_than_expected_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, lines(3, {}).replace(b",", b";"))

    with pytest.raises(DataError, match=r"has one column, 'a;y;g;notes'. Set .*csv\.delimiter to ';'"):
        list(table_batches(file, ["y"], 2**20))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_another_unicode_encoding_is_refused_by_its_name(encoding: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"its text is {encoding.upper()}"):
        cells(written(tmp_path, lines(3, {}).decode().encode(encoding)))


def part(start: int) -> bytes:
    rows = [f"{i % 17},{'pq'[i % 2]},{'fm'[i // 2 % 2]},-" for i in range(start, start + 8)]
    return "\n".join([",".join(HEADER), *rows, ""]).encode()


FOLDER = {
    "2023.csv": part(0),
    "2024.CSV": part(8),
    "2025.csv.gz": gzip.compress(part(16)),
    "2026.tsv": part(24).replace(b",", b"\t"),
    "older/2022.csv": part(32),
}


def test_every_table_in_a_folder_is_read_and_everything_else_is_named(tmp_path: Path) -> None:
    for name, content in FOLDER.items() | {".2023.csv": part(0), "_old/a.csv": part(0), "notes.txt": b"-"}.items():
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(content)

    columns = {"label": "y", "groups": "g", "numeric": ["a"]}
    source = read_source("table", {"path": "d", "columns": columns}, root=tmp_path)

    assert dict(source.files) == {str(tmp_path / "d" / name): 8 for name in FOLDER}
    assert len(source) == 40
    assert source.not_read == (
        "d/.2023.csv (hidden)",
        "d/_old (hidden)",
        "d/notes.txt (not a table)",
        "column 'notes'",
    )


@pytest.mark.parametrize("name", ["2023.csv.gz", "2023.parquet", "2023.CSV", "2023.tsv"])
def test_a_copy_of_a_table_is_not_read_twice(name: str, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for file in ("2023.csv", name):
        (tmp_path / "d" / file).write_bytes(part(0))
    columns = {"label": "y", "groups": "g", "numeric": ["a"]}

    with pytest.raises(DataError, match=r"2023\..* and 2023\..* are in one folder and seem to be the same table"):
        read_source("table", {"path": "d", "columns": columns}, root=tmp_path)


@pytest.mark.parametrize("note", ["tall\nand wide", "one, two\nthree, four, five", "a,b\n1,2,3,4", "1\n2"])
def test_a_text_of_two_lines_is_no_row(tmp_path: Path, note: str) -> None:
    text = text_of([["7", "p", "f", note]], lineterminator="\n", quoting=csv.QUOTE_MINIMAL)

    assert cells(written(tmp_path, text.encode())) == [["7", "p", "f", note]]
