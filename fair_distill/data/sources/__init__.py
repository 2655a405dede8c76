"""Data sources. A source is a function and a line in SOURCES; its keyword arguments are its options in params.yaml.

A source returns grey or colour images, or rows of a table, with a class each and, if it has them, groups, pairs,
clusters and splits. The images of files are a stream, which is read in batches. Paths are relative to the workspace, or
s3://bucket/prefix.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ConfigDict, ValidationError, validate_call

from fair_distill.data.columns import SourceData
from fair_distill.data.sources.digits import digits
from fair_distill.data.sources.idx import idx
from fair_distill.data.sources.image_folder import image_folder
from fair_distill.data.sources.locations import CACHE, prune_source_cache
from fair_distill.data.sources.npz import npz
from fair_distill.data.sources.table import table
from fair_distill.errors import ConfigError
from fair_distill.text import validation_sentence

__all__ = ["CACHE", "SOURCES", "SourceData", "idx", "npz", "prune_source_cache", "read_source"]

# To add a source, write the function in a file of this folder, and add its line.
SOURCES: dict[str, Callable[..., SourceData]] = {
    "digits": digits,
    "idx": idx,
    "npz": npz,
    "table": table,
    "image_folder": image_folder,
}


def read_source(name: str, options: dict[str, Any], *, root: Path) -> SourceData:
    """Call the source that params.yaml names, with its options checked by the annotations of its arguments.

    Parameters
    ----------
    root : the workspace, which paths are relative to
    """
    if name not in SOURCES:
        raise ConfigError(f"params.yaml: data.source.name is {name!r}; choose one of {', '.join(SOURCES)}")
    try:
        source = validate_call(config=ConfigDict(strict=True))(SOURCES[name])(root, **options)
    except ValidationError as error:
        raise ConfigError(f"params.yaml: {validation_sentence(error, within='data.source')}") from None
    # Temporary columns may have been most of the memory in use.
    pa.default_memory_pool().release_unused()
    return source
