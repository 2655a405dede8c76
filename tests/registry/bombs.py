"""Registries that are sound in every digest and drown who reads them without a bound. `BOMBS` names them all."""

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from small_registry import NAME, NOW, local_registry, package, publish, ship

from fair_distill.card import DatasetCard
from fair_distill.files import sha256, to_json
from fair_distill.formats import arrow
from fair_distill.formats.row_columns import Categorical
from fair_distill.formats.row_schema import RowSchema
from fair_distill.registry.entry import Draft, entry_key, timestamp
from fair_distill.registry.layout import evidence_key, manifest_key, object_key
from fair_distill.registry.ledger import append
from fair_distill.registry.manifest import SET_FILE, FileEntry, Manifest

HUGE = 3 * 10**9  # bytes; as a sparse file it takes none of the disk
ROWS = 80_000_000  # of four pixels: 1.3 gigabytes
MADE = package(1)
REFERENCE = f"{NAME}@v1"


def grow(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, HUGE)


def huge_entry(root: Path) -> str:
    ship(local_registry(root), MADE)
    grow(root / entry_key(NAME, 1))
    return "load"


def huge_manifest(root: Path) -> str:
    ship(local_registry(root), MADE)
    grow(root / manifest_key(MADE.version))
    return "load"


def huge_verdict(root: Path) -> str:
    ship(local_registry(root), MADE)
    grow(root / evidence_key(MADE.version, "verdicts", sha256(MADE.verdict_bytes)))
    return "load"


def huge_set(root: Path) -> str:
    ship(local_registry(root), MADE)
    grow(root / object_key(MADE.manifest.files[0].md5))
    return "load"


def huge_statement(root: Path) -> str:
    ship(local_registry(root), MADE)
    path = root / evidence_key(MADE.version, "statements", "0" * 64)
    path.parent.mkdir()
    path.touch()
    grow(path)
    return "verify"


def json_of_empty_lists(root: Path) -> str:
    """16 MB of JSON are 400 MB of Python objects."""
    return _evidence(root, "verdicts", b'{"a": [' + b"[]," * (5 * 2**20) + b"[]]}")


def json_of_one_number(root: Path) -> str:
    """Converting a number takes time that grows with the square of its length."""
    return _evidence(root, "verdicts", b'{"a": ' + b"9" * (15 * 2**20) + b"}")


def json_without_end(root: Path) -> str:
    return _evidence(root, "verdicts", b'{"a": ' + b"[" * 10**6)


def _evidence(root: Path, kind: str, content: bytes) -> str:
    publish(local_registry(root), MADE)
    local_registry(root).create(evidence_key(MADE.version, kind, sha256(content)), content)
    return "verify"


def zeros_of_another_number(root: Path) -> str:
    """The card says four images, and the file has millions."""
    return _set(root, _images(MADE.manifest.card, ROWS), MADE.manifest.card)


def zeros_of_that_number(root: Path) -> str:
    """The card agrees with the file: a few kilobytes that become more than a gigabyte."""
    card = replace(MADE.manifest.card, examples=ROWS)
    return _set(root, _images(card, ROWS), card)


def _images(card: DatasetCard, count: int) -> bytes:
    block = count // 20
    kinds = {"image": arrow.tensor_type(pa.float32(), card.shape), "label": pa.int32()}
    images = arrow.tensors(np.zeros((block, *card.shape), np.float32))
    return _repeated(kinds, [images, pa.array(np.zeros(block, np.int32))], 20, card)


def one_long_text_in_every_row(root: Path) -> str:
    """A dictionary of one text of a megabyte, which each of 10,000 rows names."""
    text, rows = "x" * 2**20, 10_000
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))
    card = _rows(text, rows)
    kinds = {"word": column.type, "label": pa.int32()}
    labels = pa.array(np.zeros(rows, np.int32))
    return _set(root, _repeated(kinds, [column, labels], 1, card, dictionary_pagesize_limit=2**22), card)


def texts_that_repeat_the_one_before(root: Path) -> str:
    """DELTA_BYTE_ARRAY: a text of a megabyte, and then a few bytes for each that is the same as the one before."""
    text, rows, times = "x" * 2**20, 100, 12
    kinds = {"word": pa.string(), "label": pa.int32()}
    encoding = {"word": "DELTA_BYTE_ARRAY", "label": "PLAIN"}
    card = _rows(text, rows * times)
    columns = [pa.array([text] * rows), pa.array(np.zeros(rows, np.int32))]
    return _set(root, _repeated(kinds, columns, times, card, use_dictionary=False, column_encoding=encoding), card)


def _rows(text: str, rows: int) -> DatasetCard:
    schema = RowSchema((Categorical("word", (text,), None, None),))
    recipe = replace(MADE.manifest.card.recipe, mean=(0.0,), std=(1.0,))
    return replace(MADE.manifest.card, examples=rows, shape=schema.shape, schema=schema, recipe=recipe)


def predictions_of_run_lengths(root: Path) -> str:
    """Forty million predictions in a few kilobytes of run lengths."""
    schema = pq.ParquetFile(pa.BufferReader(MADE.predictions)).schema_arrow
    block = 2_000_000
    columns = [pa.array(np.zeros(block), field.type, safe=False) for field in schema]
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd", write_statistics=False) as writer:
        for _ in range(20):
            writer.write_table(pa.table(columns, schema=schema), row_group_size=block)
    return _evidence(root, "predictions", sink.getvalue())


def _repeated(
    kinds: dict[str, pa.DataType], columns: list[pa.Array], times: int, card: DatasetCard, **how: Any
) -> bytes:
    """Return a file with the same rows several times, a row group each."""
    about = {b"fair_distill": to_json(card.to_dict())}
    schema = pa.schema(list(kinds.items()), metadata=about)
    # The types of tensors are in Arrow's schema; without it, a dictionary is read as the texts it has.
    how |= {"store_schema": "image" in kinds, "write_statistics": False, "compression": "zstd"}
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, **how) as writer:
        for _ in range(times):
            writer.write_table(pa.table(columns, schema=schema), row_group_size=len(columns[0]))
        if "image" not in kinds:
            writer.add_key_value_metadata(about)
    return sink.getvalue()


def page_that_is_larger_than_its_footer_says(root: Path) -> str:
    """The footer's sizes are right, and the page header says that it becomes two gigabytes."""
    content = bytearray(MADE.files[SET_FILE])
    column = pq.ParquetFile(pa.BufferReader(bytes(content))).metadata.row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    assert content[start : start + 3] == bytes([0x15, 0x04, 0x15])  # a dictionary page, and then its size
    size_at = start + 3
    length = 2 if content[size_at] & 128 else 1
    longer = bytes([0xFE, 0xFF, 0xFF, 0xFF, 0x0F])
    patched = bytes(content[:size_at]) + longer + bytes(content[size_at + length :])
    return _set(root, patched, MADE.manifest.card)


def _set(root: Path, content: bytes, card: DatasetCard) -> str:
    """Enter a version whose digests all agree, as somebody does who may write to the store."""
    store = local_registry(root)
    manifest = Manifest((FileEntry.describe(SET_FILE, content),), card, sha256(b"train"), {}, 1)
    store.create(object_key(manifest.files[0].md5), content)
    store.create(manifest_key(manifest.version), manifest.to_json())
    draft = Draft(event="publish", version=manifest.version, who="eve", time=timestamp(NOW), nonce="bomb")
    append(store, NAME, lambda _: draft)
    return "load"


BOMBS: dict[str, Callable[[Path], str]] = {
    one.__name__.replace("_", " "): one
    for one in (
        huge_entry,
        huge_manifest,
        huge_verdict,
        huge_set,
        huge_statement,
        json_of_empty_lists,
        json_of_one_number,
        json_without_end,
        zeros_of_another_number,
        zeros_of_that_number,
        one_long_text_in_every_row,
        texts_that_repeat_the_one_before,
        predictions_of_run_lengths,
        page_that_is_larger_than_its_footer_says,
    )
}
