"""Tables as other programs write them: read with the rows and values that pandas and polars read, or refused.

polars and pandas are referees. A dialect that one of them does not read is compared with the other, and always with
the values that were written.
"""

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from small_files import png

from fair_distill.data.files.csv_text import Csv
from fair_distill.data.files.input_file import InputFile
from fair_distill.data.files.tables import checked_rows, table_batches
from fair_distill.data.sources import read_source
from fair_distill.errors import DataError

N = 120
COLUMNS = ("a", "y", "g", "note")
NOTES = ("fine", "", "a, b; c\td|e", 'so "called"', "two\nlines", "Zürich", " padded ", "7'", "日本")
PLAIN = ("fine", "", "tall", "7'")


def values(notes: tuple[str, ...]) -> dict[str, list[str]]:
    return {
        "a": [str(i % 17) for i in range(N)],
        "y": ["np"[i % 2] for i in range(N)],
        "g": ["fm"[i // 2 % 2] for i in range(N)],
        "note": [notes[i % len(notes)] for i in range(N)],
    }


@dataclass(frozen=True)
class Dialect:
    """A way to write a CSV file.

    Attributes
    ----------
    change : changes the text before it is encoded
    ours : the options of data.source.csv
    theirs : the options of pandas, where they have another name or value than ours
    """

    end: str = "\n"
    delimiter: str = ","
    quoting: int = csv.QUOTE_MINIMAL
    notes: tuple[str, ...] = NOTES
    encoding: str = "utf-8"
    change: Callable[[str], str] = lambda text: text
    pack: Callable[[bytes], bytes] = lambda content: content
    suffix: str = ".csv"
    ours: Mapping[str, Any] = field(default_factory=dict)
    theirs: Mapping[str, Any] = field(default_factory=dict)
    writer: Mapping[str, Any] = field(default_factory=dict)

    def content(self) -> bytes:
        sink = io.StringIO(newline="")
        options: dict[str, Any] = {"delimiter": self.delimiter, "quoting": self.quoting, "lineterminator": self.end}
        rows = zip(*values(self.notes).values(), strict=True)
        csv.writer(sink, **options | self.writer).writerows([COLUMNS, *rows])
        return self.pack(self.change(sink.getvalue()).encode(self.encoding))


def without_header(text: str) -> str:
    return text.split("\n", 1)[1]


def inserted(row: int, line: str, text: str) -> str:
    lines = text.split("\n")
    return "\n".join([*lines[:row], line, *lines[row:]])


def grid() -> Iterator[tuple[str, Dialect]]:
    """Every combination of the ordinary properties."""
    for delimiter, name in ((",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "bar")):
        for end, end_name in (("\n", "LF"), ("\r\n", "CRLF")):
            for quoting, quotes in ((csv.QUOTE_MINIMAL, "minimal"), (csv.QUOTE_ALL, "all")):
                ours = {} if delimiter == "," else {"delimiter": delimiter}
                dialect = Dialect(delimiter=delimiter, end=end, quoting=quoting, ours=ours)
                yield f"{name} {end_name} {quotes}", dialect


READ = dict(grid()) | {
    "byte order mark": Dialect(encoding="utf-8-sig"),
    "empty line first": Dialect(change=lambda text: "\n" + text),
    "byte order mark and empty line": Dialect(encoding="utf-8-sig", change=lambda text: "\n" + text),
    "empty lines": Dialect(notes=PLAIN, change=lambda text: text.replace("\n", "\n\n")),
    "empty lines at the end": Dialect(change=lambda text: text + "\n\n\n"),
    "no line break at the end": Dialect(change=lambda text: text[:-1]),
    "CR": Dialect(end="\r", notes=PLAIN),
    "tsv": Dialect(delimiter="\t", suffix=".tsv"),
    "upper case": Dialect(suffix=".CSV"),
    "gzip": Dialect(pack=partial(gzip.compress, mtime=0), suffix=".csv.gz"),
    "gzip tsv": Dialect(delimiter="\t", pack=partial(gzip.compress, mtime=0), suffix=".tsv.gz"),
    "comments": Dialect(
        notes=PLAIN,
        change=lambda text: "# first\n" + inserted(50, "# within, with a comma", text),
        ours={"comment": "#"},
        theirs={"comment": "#"},
    ),
    "no header": Dialect(
        change=without_header, ours={"names": list(COLUMNS)}, theirs={"names": list(COLUMNS), "header": None}
    ),
    "quotes inside values": Dialect(notes=('5" pipe', "fine"), quoting=csv.QUOTE_NONE, writer={"quotechar": None}),
    "text file": Dialect(suffix=".txt", delimiter=";", ours={"delimiter": ";"}),
    "other encoding of ASCII": Dialect(encoding="latin-1", notes=PLAIN),
    "unread column of Latin-1": Dialect(notes=PLAIN),
}

REFUSED = {
    "UTF-16": (Dialect(encoding="utf-16"), "its text is UTF-16"),
    "UTF-16 with tabs, from Excel": (Dialect(encoding="utf-16", delimiter="\t"), "its text is UTF-16"),
    "UTF-32": (Dialect(encoding="utf-32"), "its text is UTF-32"),
    "Latin-1": (Dialect(encoding="latin-1", notes=("fine", "Zürich")), "line 3 is not UTF-8"),
    "Shift JIS": (Dialect(encoding="shift-jis", notes=("fine", "日本")), "line 3 is not UTF-8"),
    "backslash before a quote": (
        Dialect(notes=('a "b", c',), writer={"doublequote": False, "escapechar": "\\"}),
        "line 2: the end of a quoted value is followed by other characters",
    ),
    "single quotes": (Dialect(notes=("a, b", "fine"), writer={"quotechar": "'"}), "line 2 has 5 values"),
    "unclosed quote": (Dialect(notes=PLAIN, change=partial(inserted, 60, '1,n,f,"tall')), "line 61: a quoted value"),
    "short row": (Dialect(notes=PLAIN, change=partial(inserted, 60, "1,n,f")), "line 61 has 3 values"),
    "long row": (Dialect(notes=PLAIN, change=partial(inserted, 60, "1,n,f,x,y")), "line 61 has 5 values"),
    "another delimiter": (Dialect(delimiter=";"), "Set params.yaml: data.source.csv.delimiter to ';'"),
    "cut gzip": (Dialect(pack=lambda it: gzip.compress(it)[:-20], suffix=".csv.gz"), "not a readable csv file"),
}


def ours(file: InputFile, dialect: Csv) -> dict[str, list[str]]:
    """All values, read as `prepare` reads them."""
    rows = checked_rows(file, dialect)
    tables = list(table_batches(file, COLUMNS, 2**20, csv=dialect))
    columns = pa.concat_tables(tables).to_pydict()
    assert {len(column) for column in columns.values()} == {rows}
    return columns


@pytest.mark.parametrize("name", READ)
def test_a_csv_file_is_read_as_pandas_and_polars_read_it(name: str, tmp_path: Path) -> None:
    dialect = READ[name]
    path = tmp_path / f"all{dialect.suffix}"
    path.write_bytes(dialect.content())

    read = ours(InputFile.local(path), Csv(**dialect.ours))

    assert read == values(dialect.notes)
    options: dict[str, Any] = {"sep": dialect.delimiter, "dtype": str, "keep_default_na": False}
    frame = pd.read_csv(path, **options | dict(dialect.theirs))
    assert read == frame.to_dict("list")
    # polars reads neither CR nor empty lines before the header as rows, and quotes inside values as their end.
    if not name.startswith(("CR", "empty line", "byte order mark and", "quotes")):
        assert read == polars_columns(path, dialect)


def polars_columns(path: Path, dialect: Dialect) -> dict[str, list[str]]:
    frame = pl.read_csv(
        path,
        separator=dialect.delimiter,
        infer_schema=False,
        empty_string_is_null=False,
        has_header="names" not in dialect.ours,
        new_columns=list(COLUMNS),
        comment_prefix=dialect.ours.get("comment"),
    )
    # polars keeps empty lines as rows without values.
    return frame.filter(pl.col("y") != "").to_dict(as_series=False)


@pytest.mark.parametrize("name", REFUSED)
def test_a_csv_file_that_could_be_misread_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    dialect, message = REFUSED[name]
    path = tmp_path / f"all{dialect.suffix}"
    path.write_bytes(dialect.content())

    with pytest.raises(DataError, match=message) as caught:
        ours(InputFile.local(path), Csv(**dialect.ours))

    assert "\n" not in str(caught.value)


def test_there_are_enough_dialects() -> None:
    assert len(READ) + len(REFUSED) >= 40


ROWS = pd.DataFrame({"a": np.arange(N) % 17, "y": np.arange(N) % 2, "g": np.tile(["f", "f", "m", "m"], N // 4)})
WITH_GAPS = ROWS.assign(w=pd.array([None if i % 9 == 4 else "st"[i % 2] for i in range(N)], dtype="string"))
WITH_FILES = ROWS.assign(w=[f"{i % 3}.png" for i in range(N)])
LARGE = pa.schema({"a": pa.int64(), "y": pa.int8(), "g": pa.large_string(), "w": pa.large_string()})

# Writes a frame with the columns a, y, g, w to a file.
Write = Callable[[pd.DataFrame, Path], object]
FRAMES: dict[str, Write] = {
    "pandas.parquet": pd.DataFrame.to_parquet,
    "pandas.feather": pd.DataFrame.to_feather,
    "pandas.csv": partial(pd.DataFrame.to_csv, index=False),
    "pandas-index.csv": pd.DataFrame.to_csv,
    "pandas-categories.parquet": lambda frame, path: frame.astype({"g": "category", "w": "category"}).to_parquet(path),
    "pandas-zstd.parquet": partial(pd.DataFrame.to_parquet, compression="zstd", row_group_size=7),
    "polars.parquet": lambda frame, path: pl.from_pandas(frame).write_parquet(path),
    "polars.arrow": lambda frame, path: pl.from_pandas(frame).write_ipc(path),
    "polars-stream.arrow": lambda frame, path: pl.from_pandas(frame).write_ipc_stream(path),
    "polars-compressed.arrow": lambda frame, path: pl.from_pandas(frame).write_ipc(path, compression="lz4"),
    "polars-categories.arrow": lambda frame, path: (
        pl.from_pandas(frame).with_columns(pl.col("g", "w").cast(pl.Categorical)).write_ipc(path)
    ),
    "polars-categories.parquet": lambda frame, path: (
        pl.from_pandas(frame).with_columns(pl.col("g").cast(pl.Enum(["f", "m"]))).write_parquet(path)
    ),
    "polars.csv": lambda frame, path: pl.from_pandas(frame).write_csv(path),
    "arrow.feather": lambda frame, path: pa.feather.write_feather(pa.Table.from_pandas(frame), path),
    "arrow-large.parquet": lambda frame, path: pa.parquet.write_table(pa.Table.from_pandas(frame).cast(LARGE), path),
}


@pytest.mark.parametrize("name", FRAMES)
def test_rows_of_a_data_frame_are_all_read(name: str, tmp_path: Path) -> None:
    FRAMES[name](WITH_GAPS, tmp_path / name)
    columns = {"label": "y", "groups": "g", "numeric": ["a"], "categorical": ["w"]}

    source = read_source("table", {"path": name, "columns": columns, "rows": {"missing": "none"}}, root=tmp_path)

    assert (source.classes, source.groups, len(source)) == (("0", "1"), ("f", "m"), N)
    assert source.labels.tolist() == ROWS["y"].tolist()
    rows = np.asarray(source.images)
    assert rows["a"].tolist() == ROWS["a"].tolist()
    assert rows["w"].tolist() == WITH_GAPS["w"].fillna("none").tolist()


@pytest.mark.parametrize("name", FRAMES)
def test_the_table_of_an_image_folder_is_read_in_every_format(name: str, tmp_path: Path) -> None:
    FRAMES[name](WITH_FILES, tmp_path / name)
    (tmp_path / "faces").mkdir()
    for i in range(3):
        (tmp_path / f"faces/{i}.png").write_bytes(png(np.full((1, 8, 8), i, np.uint8)))
    columns = {"image": "w", "label": "y", "groups": "g"}

    source = read_source("image_folder", {"path": "faces", "metadata": name, "columns": columns}, root=tmp_path)

    assert source.labels.tolist() == ROWS["y"].tolist()
    assert np.asarray(source.images)[:, 0, 0, 0].tolist() == [i % 3 for i in range(N)]
