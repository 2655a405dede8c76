"""NumPy to Arrow and back. Not by pyarrow's own ways, which import pandas where it is installed: a second a stage."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def array(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return numbers (N,) as an array of a kind that holds them all. Raises ArrowInvalid if it does not."""
    values = np.ascontiguousarray(values)
    own = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])
    return own if own.type == kind else own.cast(kind)


def tensors(values: NDArray[Any]) -> pa.FixedShapeTensorArray:
    """Return tensors (N, ...) as an array of N."""
    kind, shape = pa.from_numpy_dtype(values.dtype), values.shape[1:]
    rows = pa.FixedSizeListArray.from_arrays(array(values.reshape(-1), kind), int(np.prod(shape)))
    order = list(range(len(shape)))  # pyarrow's own writer names it too
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(kind, shape, permutation=order), rows)


def view(array: pa.Array) -> NDArray[Any]:
    """Return an array's numbers where they lie; those of tensors one after another."""
    numbers: NDArray[Any] = np.from_dlpack(array.storage.flatten() if isinstance(array, pa.ExtensionArray) else array)
    return numbers
