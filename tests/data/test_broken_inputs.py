"""A corpus of broken inputs: each ends `prepare` with one line and exit code 2, and leaves nothing behind."""

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image
from small_files import COLUMNS, FORMS, SPLITS, N, facts, idx_bytes, images, labels, png, written
from small_workspace import Ended, run, small_params, write_params

# Breaks what a form has written, and may change data.source; returns the expected part of the message.
Break = Callable[[Path, dict[str, Any]], str]


def prepared(root: Path, source: dict[str, Any], **data: Any) -> Ended:
    """Run `prepare` on a source; `data` has the other keys of that section."""
    section = {"source": plain(source), "splits": SPLITS} | data
    write_params(root, small_params() | {"data": section})
    return run(root, "prepare")


def plain(value: Any) -> Any:
    """As YAML has it: lists for tuples."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def refused(ended: Ended, message: str) -> None:
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert len(ended.err.splitlines()) == 1, ended.err
    assert message in ended.err


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def replaced(name: str, content: Callable[[bytes], bytes], message: str) -> Break:
    """Replace the bytes of one file."""

    def apply(root: Path, _: dict[str, Any]) -> str:
        (root / name).write_bytes(content((root / name).read_bytes()))
        return message

    return apply


def table(change: Callable[[pa.Table], pa.Table], message: str) -> Break:
    """Change about.csv, the metadata of the folder."""

    def apply(root: Path, _: dict[str, Any]) -> str:
        pa.csv.write_csv(change(pa.csv.read_csv(root / "about.csv")), root / "about.csv")
        return message

    return apply


def cell(column: str, row: int, value: object, message: str) -> Break:
    def change(rows: pa.Table) -> pa.Table:
        values = rows.column(column).to_pylist()
        values[row] = value
        return rows.set_column(rows.column_names.index(column), column, pa.array(values))

    return table(change, message)


def column(name: str, values: list[Any], message: str) -> Break:
    def change(rows: pa.Table) -> pa.Table:
        return rows.set_column(rows.column_names.index(name), name, pa.array(values))

    return table(change, message)


def option(message: str, **options: Any) -> Break:
    def apply(_: Path, source: dict[str, Any]) -> str:
        source.update(options)
        return message

    return apply


def both(*breaks: Break) -> Break:
    """Do one after the other; what the last says counts."""
    return lambda root, source: [apply(root, source) for apply in breaks][-1]


def arrays(message: str, **changed: Any) -> Break:
    """Write all.npz again with other arrays."""

    def apply(root: Path, _: dict[str, Any]) -> str:
        existing = {"x": images(), **{name: np.array(values) for name, values in facts().items()}}
        np.savez(root / "all.npz", allow_pickle=True, **(existing | changed))
        return message

    return apply


def gzipped(content: bytes) -> Callable[[bytes], bytes]:
    return lambda _: gzip.compress(content, mtime=0)


def bomb_of_zeros(megabytes: int) -> bytes:
    """A gzip file that unpacks to many zeros, packed once and repeated."""
    megabyte = gzip.compress(bytes(2**20), mtime=0)
    return megabyte * megabytes


def png_that_says(width: int, height: int) -> bytes:
    """A whole PNG, but for its size, with right checksums."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(2**20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def gif() -> bytes:
    sink = io.BytesIO()
    Image.fromarray(images()[0, 0]).save(sink, "GIF")
    return sink.getvalue()


def link(target: str, message: str) -> Break:
    """Put a link in place of picture 0.png."""

    def apply(root: Path, _: dict[str, Any]) -> str:
        (root / "secret.png").write_bytes(png(images()[0]))
        (root / "pictures/0.png").unlink()
        (root / "pictures/0.png").symlink_to(target.format(root=root))
        return message

    return apply


def pipe(root: Path, _: dict[str, Any]) -> str:
    (root / "pictures/0.png").unlink()
    os.mkfifo(root / "pictures/0.png")  # reading it would wait for ever
    return "'0.png' is not a file"


def absolute(root: Path, source: dict[str, Any]) -> str:
    (root / "secret.png").write_bytes(png(images()[0]))
    return cell("file_name", 0, str(root / "secret.png"), "secret.png' is outside")(root, source)


def parts_of_two_kinds(root: Path, _: dict[str, Any]) -> str:
    rows = pa.parquet.read_table(root / "parts/b.parquet")
    pa.parquet.write_table(rows.drop_columns("sex"), root / "parts/b.parquet")
    return "b.parquet has no column 'sex'; it has 'kind', 'age', 'x'"


def parts_of_two_sizes(root: Path, _: dict[str, Any]) -> str:
    rows = pa.parquet.read_table(root / "parts/b.parquet")
    larger = pa.array([png(np.zeros((1, 12, 12), np.uint8))] * len(rows))
    pa.parquet.write_table(rows.set_column(3, "x", larger), root / "parts/b.parquet")
    return "b.parquet: images have the shape (1, 12, 12), the images before them (1, 9, 8)"


def parts_of_mixed_types(root: Path, _: dict[str, Any]) -> str:
    rows = pa.parquet.read_table(root / "parts/b.parquet")
    fractions = pa.FixedShapeTensorArray.from_numpy_ndarray(images()[15:] / 255)
    pa.parquet.write_table(rows.set_column(3, "x", fractions), root / "parts/b.parquet")
    return "b.parquet: x: pixels are float64. Set params.yaml: data.source.pixels.range"


def parts_with_labels_of_fractions(root: Path, _: dict[str, Any]) -> str:
    rows = pa.parquet.read_table(root / "parts/b.parquet")
    pa.parquet.write_table(rows.set_column(0, "kind", pa.array(labels()[15:] / 2)), root / "parts/b.parquet")
    return "b.parquet: kind has the type double; expected integers or text"


def part_that_is_cut(root: Path, _: dict[str, Any]) -> str:
    content = (root / "parts/b.parquet").read_bytes()
    (root / "parts/b.parquet").write_bytes(content[: len(content) // 2])
    return "b.parquet is not a readable parquet file"


def fine_until_the_last(root: Path, _: dict[str, Any]) -> str:
    """Most images were read, and written, when the fault is met."""
    (root / "pictures/39.png").write_bytes(b"")
    (root / "pictures/deep/38.png").write_bytes(b"")
    return "is not a readable PNG, JPEG or WebP image"


def twelve_bits(value: int, message: str) -> Break:
    """A PNG of 16 bits, read by a range."""

    def apply(root: Path, source: dict[str, Any]) -> str:
        source["pixels"] = {"range": [0, 4095]}
        pixels = np.full((9, 8), value, np.uint16)
        for path in (root / "pictures").rglob("*.png"):
            Image.fromarray(pixels).save(path)
        return message

    return apply


def parquet(change: Callable[[pa.Table], pa.Table], message: str) -> Break:
    def apply(root: Path, _: dict[str, Any]) -> str:
        pa.parquet.write_table(change(pa.parquet.read_table(root / "all.parquet")), root / "all.parquet")
        return message

    return apply


def images_of(values: pa.Array, message: str) -> Break:
    """Replace the image column of the Parquet file."""
    return parquet(lambda rows: rows.drop_columns("x").append_column("x", values), message)


def csv_pixel(value: object, message: str) -> Break:
    def apply(root: Path, _: dict[str, Any]) -> str:
        rows = pa.csv.read_csv(root / "all.csv")
        values = [value, *rows.column("pixel5").to_pylist()[1:]]
        position = rows.column_names.index("pixel5")
        pa.csv.write_csv(rows.set_column(position, "pixel5", pa.array(values, pa.float64())), root / "all.csv")
        return message

    return apply


def two_headers(content: bytes) -> bytes:
    return content.replace(b'"age"', b'"sex"', 1)


def lying_npz(root: Path, _: dict[str, Any]) -> str:
    """An array whose header promises a million times what follows."""
    sink = io.BytesIO()
    np.lib.format.write_array_header_1_0(sink, {"descr": "|u1", "fortran_order": False, "shape": (N * 10**6, 1, 9, 8)})
    with zipfile.ZipFile(root / "all.npz", "w") as archive:
        archive.writestr("x.npy", sink.getvalue() + images().tobytes())
    with zipfile.ZipFile(root / "all.npz", "a") as archive:
        for name, values in facts().items():
            sink = io.BytesIO()
            np.lib.format.write_array(sink, np.array(values))
            archive.writestr(f"{name}.npy", sink.getvalue())
    return "the header claims 40000000×1×9×8 values of 1 bytes"


GREY, NOT_UTF8 = images()[:, 0], "Löwe".encode("latin-1")
ONE_MORE = np.concatenate([GREY, GREY[:1]])
WITH_NAN, INFINITE = images().astype(np.float32) / 255, images().astype(np.float64) / 255
WITH_NAN[7, 0, 0, 0], INFINITE[9, 0, 0, 0] = np.nan, np.inf
UNIT = {"range": [0, 1]}
NUMBERED = list(range(N))

BROKEN: dict[str, tuple[str, Break]] = {
    # idx
    "idx: empty": ("idx", replaced("images", lambda _: b"", "it starts with nothing")),
    "idx: empty gzip": ("idx", replaced("images", gzipped(b""), "it starts with nothing")),
    "idx: wrong magic": ("idx", replaced("images", lambda _: b"GIF89a" * 9, "it starts with 47494638")),
    "idx: unknown type": ("idx", replaced("labels", lambda it: b"\0\0\x0a\x01" + it[4:], "it starts with 00000a01")),
    "idx: no dimensions": ("idx", replaced("labels", lambda it: b"\0\0\x08\0" + it[4:], "it starts with 00000800")),
    "idx: half a header": ("idx", replaced("images", gzipped(b"\0\0\x08\x03\0\0"), "it ends within its header")),
    "idx: truncated": ("idx", replaced("labels", lambda it: it[:-1], "40 bytes; the file has less")),
    "idx: more than it says": ("idx", replaced("labels", lambda it: it + b"\0", "40 bytes; the file has more")),
    "idx: lying header": (
        "idx",
        replaced("labels", lambda it: it[:4] + b"\x7f\0\0\0" + it[8:], "the file has less"),
    ),
    "idx: header of terabytes": (
        "idx",
        replaced("images", gzipped(b"\0\0\x08\x03" + b"\xff" * 12), "at most 4,294,967,296 bytes are read"),
    ),
    "idx: truncated gzip": ("idx", replaced("images", lambda it: it[:-20], "cannot be read (")),
    "idx: gzip with a wrong checksum": (
        "idx",
        replaced("images", lambda it: it[:-8] + b"\0\0\0\0" + it[-4:], "cannot be read (CRC check failed"),
    ),
    "idx: gzip bomb": (
        "idx",
        replaced("images", lambda _: gzip.compress(idx_bytes(GREY), mtime=0) + bomb_of_zeros(200), "the file has more"),
    ),
    "idx: gzip bomb that says so": (
        "idx",
        replaced(
            "images",
            lambda _: gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 2**24, 32, 32), mtime=0) + bomb_of_zeros(20),
            "the header claims 16777216×32×32 values of 1 bytes",
        ),
    ),
    "idx: more images than labels": ("idx", replaced("images", gzipped(idx_bytes(ONE_MORE)), "has 41 images, but 40")),
    "idx: label out of range": (
        "idx",
        replaced("labels", lambda it: it[:-1] + b"\xff", "label 255 of example 39 is outside 0 to 1"),
    ),
    "idx: negative label": (
        "idx",
        replaced("labels", lambda it: b"\0\0\x09" + it[3:-1] + b"\xff", "label -1 of example"),
    ),
    "idx: labels of fractions": (
        "idx",
        replaced(
            "labels", lambda _: idx_bytes(labels().astype(">f4"), 13), "has the type >f4; expected integers or text"
        ),
    ),
    "idx: labels that are images": (
        "idx",
        replaced(
            "labels", lambda _: idx_bytes(GREY), "labels must have one entry per image; got an array of the shape (40,"
        ),
    ),
    "idx: images that are labels": (
        "idx",
        replaced("images", lambda _: idx_bytes(labels().astype(np.uint8)), "must have images with 1 or 3 channels"),
    ),
    "idx: tiny images": (
        "idx",
        replaced("images", lambda _: idx_bytes(GREY[:, :4, :4].copy()), "got 4×4. Set params.yaml: data.source.pixels"),
    ),
    "idx: no images": (
        "idx",
        replaced("images", lambda _: idx_bytes(GREY[:0]), "has 0 images, but 40 entries in labels"),
    ),
    # npz
    "npz: empty": ("npz", replaced("all.npz", lambda _: b"", "is not a readable .npz file (File is not a zip file")),
    "npz: truncated": ("npz", replaced("all.npz", lambda it: it[:-100], "is not a readable .npz file")),
    "npz: a flipped bit": (
        "npz",
        replaced("all.npz", lambda it: it[:300] + bytes([it[300] ^ 1]) + it[301:], "Bad CRC-32 for file 'x.npy'"),
    ),
    "npz: pickled": (
        "npz",
        arrays("has Python objects, which are never unpickled", kind=np.array(facts()["kind"], object)),
    ),
    "npz: lying header": ("npz", lying_npz),
    "npz: NaN": ("npz", both(option("", pixels=UNIT), arrays("example 7 has a pixel of nan", x=WITH_NAN))),
    "npz: infinite": ("npz", both(option("", pixels=UNIT), arrays("example 9 has a pixel of inf", x=INFINITE))),
    "npz: beyond the range": (
        "npz",
        both(option("", pixels={"range": [0, 100]}), arrays("outside 0 to 100. Correct the data", x=images())),
    ),
    "npz: shapes that do not fit": (
        "npz",
        arrays("x has 40 images, but 39 entries in age", age=facts()["age"][1:]),
    ),
    "npz: seven channels": ("npz", arrays("must have images with 1 or 3 channels", x=np.zeros((N, 7, 9, 8), np.uint8))),
    "npz: 16 bits without a range": (
        "npz",
        arrays("pixels are uint16. Set params.yaml", x=images().astype(np.uint16)),
    ),
    "npz: complex pixels": ("npz", arrays("pixels must be numbers; got complex128", x=images() * 1j)),
    "npz: dates for labels": (
        "npz",
        arrays("has the type date32[day]; expected integers or text", kind=np.full(N, "2020-01-01", "datetime64[D]")),
    ),
    "npz: labels that overflow": (
        "npz",
        arrays("label 18446744073709551576 of example 0 is outside 0 to 999", kind=np.arange(N, dtype=np.uint64) - N),
    ),
    "npz: flat rows without a shape": (
        "npz",
        arrays("Set params.yaml: data.source.pixels.shape", x=images().reshape(N, -1)),
    ),
    # Parquet and Arrow
    "parquet: empty": ("tensors in Parquet", replaced("all.parquet", lambda _: b"", "is empty; it must have a row")),
    "parquet: truncated": (
        "tensors in Parquet",
        replaced("all.parquet", lambda it: it[:-40], "not a readable parquet"),
    ),
    "parquet: cut in the middle": (
        "tensors in Parquet",
        replaced("all.parquet", lambda it: it[: len(it) // 2], "not a readable parquet file"),
    ),
    "parquet: wrong magic": (
        "tensors in Parquet",
        replaced("all.parquet", lambda it: b"XXXX" + it[4:-4] + b"XXXX", "not a readable parquet file"),
    ),
    "parquet: no rows": ("tensors in Parquet", parquet(lambda rows: rows.slice(0, 0), "has no rows")),
    "parquet: a column twice": (
        "tensors in Parquet",
        parquet(lambda rows: rows.append_column("sex", rows.column("age")), "has two columns 'sex'"),
    ),
    "parquet: images missing": (
        "tensors in Parquet",
        images_of(pa.array([b""] * (N - 2) + [None] * 2), "all.parquet: x is missing in row 39. Correct"),
    ),
    "parquet: images of dates": (
        "tensors in Parquet",
        images_of(
            pa.array([0] * N, pa.timestamp("s")),
            "images must be tensors, lists of numbers, paths, or PNG, JPEG or WebP bytes",
        ),
    ),
    "parquet: ragged lists": (
        "tensors in Parquet",
        images_of(
            pa.array([[1, 2, 3]] * (N - 1) + [[1, 2]]), "all lists must have the same length; got the lengths [2, 3]"
        ),
    ),
    "parquet: lists of text": (
        "tensors in Parquet",
        images_of(pa.array([["a", "b"]] * N), "pixels must be numbers; got string"),
    ),
    "parquet: parts of two kinds": ("PNG in a folder of Parquet", parts_of_two_kinds),
    "parquet: parts of mixed types": ("PNG in a folder of Parquet", parts_of_mixed_types),
    "parquet: a part of fractions for labels": ("PNG in a folder of Parquet", parts_with_labels_of_fractions),
    "parquet: a part that is cut": ("PNG in a folder of Parquet", part_that_is_cut),
    "parquet: parts of two sizes": ("PNG in a folder of Parquet", parts_of_two_sizes),
    "arrow: truncated": ("lists in Arrow", replaced("all.arrow", lambda it: it[:-30], "not a readable arrow file")),
    "arrow: wrong magic": (
        "lists in Arrow",
        replaced("all.arrow", lambda it: b"X" * len(it), "not a readable arrow file"),
    ),
    "arrow: wrong shape": (
        "lists in Arrow",
        option(
            "72 numbers per image, which do not fill the shape (3, 9, 8)",
            pixels={"shape": [3, 9, 8], "range": [0, 255]},
        ),
    ),
    "table: a name without a kind": (
        "pixels in CSV",
        option("is not a table; a table has the suffix .parquet, .arrow", path="params.yaml"),
    ),
    # CSV
    "csv: empty": ("folder", replaced("about.csv", lambda _: b"", "is empty; it must have a row")),
    "csv: a header alone": ("folder", replaced("about.csv", lambda it: it.split(b"\n")[0] + b"\n", "has no rows")),
    "csv: ragged": (
        "folder",
        replaced("about.csv", lambda it: it + b'"x.png","cat"\n', "line 42 has 2 values, but the header has 4"),
    ),
    "csv: latin-1": (
        "folder",
        replaced("about.csv", lambda it: it.replace(b"cat", NOT_UTF8, 1), "line 2 is not UTF-8. Save it"),
    ),
    "csv: utf-16": (
        "folder",
        replaced("about.csv", lambda it: it.decode().encode("utf-16"), "its text is UTF-16. Save it as CSV UTF-8"),
    ),
    "csv: binary": ("folder", replaced("about.csv", lambda _: bytes(range(256)), "about.csv")),
    "csv: a column twice": ("folder", replaced("about.csv", two_headers, "has two columns 'sex'. Rename")),
    "csv: a missing column": (
        "folder",
        replaced("about.csv", lambda it: it[12:], "has no column 'file_name'; it has '"),
    ),
    "csv: text for a pixel": (
        "pixels in CSV",
        replaced("all.csv", lambda it: it[: it.rindex(b",", 0, -6)] + b",dark,-\n", "all.csv"),
    ),
    "csv: a pixel missing": ("pixels in CSV", csv_pixel(None, "pixel5 is missing in row 1. Correct")),
    "csv: a pixel of NaN": ("pixels in CSV", csv_pixel(float("nan"), "pixel5 is missing in row 1. Correct")),
    "csv: a pixel of infinity": ("pixels in CSV", csv_pixel(float("inf"), "a pixel of inf, outside 0 to 255")),
    "csv: a pixel of 256": ("pixels in CSV", csv_pixel(256, "example 0 has a pixel of 256, outside 0 to 255")),
    "csv: a pixel below 0": ("pixels in CSV", csv_pixel(-1, "example 0 has a pixel of -1, outside 0 to 255")),
    # labels and groups
    "label: missing": ("folder", cell("kind", 4, "", "kind is missing in 1 of 40 rows, the first of them row 5")),
    "group: missing": ("folder", cell("age", 4, None, "age is missing in 1 of 40 rows, the first of them row 5")),
    "label: one class": ("folder", column("kind", ["cat"] * N, "2 to 1000 classes; they have 1: 'cat'")),
    "label: unknown": (
        "folder",
        both(
            option("", classes=["cat", "dog"]),
            cell("kind", 6, "cow", "label 'cow' of example 6 is not one of cat, dog"),
        ),
    ),
    "label: negative": ("folder", column("kind", [-1, *NUMBERED[1:]], "label -1 of example 0 is outside 0 to 999")),
    "label: overflowing": (
        "folder",
        column("kind", [str(10**30), *map(str, NUMBERED[1:])], "of example 0 is outside 0 to 999"),
    ),
    "label: rare beyond splitting": ("folder", column("kind", NUMBERED, "gets none of 40 examples")),
    "label: 10,000 classes": (
        "npz",
        arrays(
            "2 to 1000 classes; they have 10000",
            x=np.zeros((10_000, 1, 8, 8), np.uint8),
            kind=np.array([f"c{i}" for i in range(10_000)]),
            sex=np.arange(10_000) % 2,
            age=np.zeros(10_000, int),
        ),
    ),
    "label: of declared classes": (
        "folder",
        both(option("", classes=["cat", "dog"]), column("kind", NUMBERED, "label 10 of example 10 is outside 0 to 1")),
    ),
    "group: one group": (
        "folder",
        both(column("sex", ["f"] * N, ""), column("age", ["old"] * N, "2 to 1000 groups; they have 1: 'f×old'")),
    ),
    "group: none": (
        "folder",
        option("data.colours; neither is set", columns={"image": "file_name", "label": "kind"}),
    ),
    # images
    "image: missing": ("folder", cell("file_name", 2, "none.png", "row 3: 'none.png' is not a file in")),
    "image: empty": (
        "folder",
        replaced("pictures/0.png", lambda _: b"", "0.png is not a readable PNG, JPEG or WebP image"),
    ),
    "image: truncated": (
        "folder",
        replaced("pictures/0.png", lambda it: it[:50], "is not a readable PNG, JPEG or WebP image"),
    ),
    "image: wrong magic": (
        "folder",
        replaced("pictures/0.png", lambda it: b"X" + it[1:], "is not a readable PNG, JPEG or WebP"),
    ),
    "image: a GIF": (
        "folder",
        replaced("pictures/0.png", lambda _: gif(), "0.png is not a readable PNG, JPEG or WebP image"),
    ),
    "image: PNG bomb": (
        "folder",
        replaced("pictures/0.png", lambda _: png_that_says(2**15, 2**12), "the image has 32768×4096 pixels"),
    ),
    "image: large PNG bomb": (
        "folder",
        replaced("pictures/0.png", lambda _: png_that_says(2**17, 2**17), "is not a readable PNG, JPEG or WebP image"),
    ),
    "image: PNG with less than it says": (
        "folder",
        replaced("pictures/0.png", lambda _: png_that_says(2000, 2000), "is not a readable PNG, JPEG or WebP image"),
    ),
    "image: bytes that are none": (
        "tensors in Parquet",
        images_of(pa.array([b"none"] * N), "x of row 1 is not a readable PNG, JPEG or WebP image"),
    ),
    "image: another size": (
        "folder",
        replaced(
            "pictures/0.png", lambda _: png(np.zeros((1, 10, 10), np.uint8)), "Set params.yaml: data.source.pixels"
        ),
    ),
    "image: another kind of colour": (
        "folder",
        replaced("pictures/0.png", lambda _: png(np.zeros((3, 9, 8), np.uint8)), "the images before it (3, 9, 8)"),
    ),
    "image: the last of them": ("folder", fine_until_the_last),
    "image: 16 bits beyond the range": ("folder", twelve_bits(5000, "a pixel of 5000, outside 0 to 4095")),
    "weight: below 0": (
        "npz",
        both(
            option("", columns=COLUMNS | {"image": "x", "weight": "w"}),
            arrays("w is -1.0 in row 1; a weight must be a finite number from 0", w=np.full(N, -1.0)),
        ),
    ),
    "id: missing": (
        "folder",
        both(
            option("", columns=COLUMNS | {"image": "file_name", "example_id": "age"}),
            cell("age", 4, "", "age is missing in 1 of 40 rows, the first of them row 5"),
        ),
    ),
    # paths
    "path: outside": ("folder", cell("file_name", 0, "../about.csv", "'../about.csv' is outside")),
    "path: outside and back": ("folder", cell("file_name", 0, "../../../../etc/passwd", "is outside")),
    "path: absolute": ("folder", absolute),
    "path: a link outside": ("folder", link("../secret.png", "'0.png' is outside")),
    "path: an absolute link outside": ("folder", link("{root}/secret.png", "'0.png' is outside")),
    "path: a link to itself": ("folder", link("0.png", "0.png' is not")),
    "path: a link to nothing": ("folder", link("gone.png", "'0.png' is not a file in")),
    "path: a folder": ("folder", cell("file_name", 0, "deep", "'deep' is not a file in")),
    "path: empty": ("folder", cell("file_name", 0, "", "'' is not a file in")),
    "path: a pipe": ("folder", pipe),
    "path: NUL": ("folder", cell("file_name", 0, "0\0.png", "is not a valid file name")),
    "path: too long": ("folder", cell("file_name", 0, "x" * 5000, "is not")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_input_is_refused_in_one_line_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    form, apply = BROKEN[name]
    source = written(form, tmp_path)
    message = apply(tmp_path, source)

    before = names(tmp_path)

    refused(prepared(tmp_path, source), message)

    assert names(tmp_path) == before | {"params.yaml"}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_broken_is_prepared(form: str, tmp_path: Path) -> None:
    ended = prepared(tmp_path, written(form, tmp_path))

    assert (ended.code, ended.err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "artifacts/prepared").iterdir()) == [
        *("gate.arrow", "train.arrow", "tune.arrow")
    ]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            {"train": "learn", "tune": 0.5, "gate": 0.5},
            "data.splits.train is 'learn', but the source has no named splits",
        ),
        (
            {"train": 0.98, "tune": 0.01, "gate": 0.01},
            "gets none of 40 examples; it needs at least one. Correct params.yaml: data.splits",
        ),
    ],
)
def test_splits_that_the_source_cannot_give_are_refused(splits: dict[str, Any], message: str, tmp_path: Path) -> None:
    source = written("folder", tmp_path)

    refused(prepared(tmp_path, source, splits=splits), message)

    assert not (tmp_path / "artifacts").exists()


def test_groups_and_colours_at_once_are_refused(tmp_path: Path) -> None:
    source = written("folder", tmp_path)
    colours = {"colours": {"red": [255, 0, 0], "cyan": [0, 255, 255]}, "own_share": 0.9, "paint": "foreground"}

    refused(prepared(tmp_path, source, **colours), "or from data.colours; both are set")
