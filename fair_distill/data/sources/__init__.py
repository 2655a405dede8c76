"""Where raw images come from. A source is a function and a line in SOURCES; its options are its keyword arguments.

A source returns grey or colour images with a class each and, if it knows them, groups, pairs, clusters and splits. The
images of files are a stream: read in batches, when they are asked for. Paths are relative to the workspace, or
s3://bucket/prefix.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ConfigDict, ValidationError, validate_call

from fair_distill.data.columns import Labelled
from fair_distill.data.sources.digits import digits
from fair_distill.data.sources.idx import idx
from fair_distill.data.sources.image_folder import image_folder
from fair_distill.data.sources.locations import CACHE, tidy_up
from fair_distill.data.sources.npz import npz
from fair_distill.data.sources.table import table
from fair_distill.errors import ConfigError

__all__ = ["CACHE", "SOURCES", "Labelled", "idx", "npz", "read_source", "tidy_up"]

# The one place a source is added: write the function, add its line.
SOURCES: dict[str, Callable[..., Labelled]] = {
    "digits": digits,
    "idx": idx,
    "npz": npz,
    "table": table,
    "image_folder": image_folder,
}


def read_source(name: str, options: dict[str, Any], *, root: Path) -> Labelled:
    """Call the source that params.yaml names, with its options, checked by the types of its arguments."""
    if name not in SOURCES:
        raise ConfigError(f"params.yaml: data.source.name is {name!r}; choose one of {', '.join(SOURCES)}")
    try:
        source = validate_call(config=ConfigDict(strict=True))(SOURCES[name])(root, **options)
        pa.default_memory_pool().release_unused()  # of the columns, which may have been most of what there was
        return source
    except ValidationError as error:
        raise ConfigError(f"params.yaml: data.source{_sentence(error, options)}") from None


def _sentence(error: ValidationError, options: dict[str, Any]) -> str:
    fault = error.errors(include_url=False)[0]
    where = "".join(f".{part}" for part in fault["loc"] if str(part).isidentifier())
    if fault["type"] in {"missing_keyword_only_argument", "missing"}:
        return f"{where}: this key is needed and is not there"
    if fault["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{where}: no such key; remove it or mend its spelling"
    message = " ".join(fault["msg"].removeprefix("Value error, ").split())
    came = ":" if fault["type"] == "value_error" else f" is {repr(fault['input'])[:80]};"
    return f"{where}{came} {message[0].lower()}{message[1:]}"
