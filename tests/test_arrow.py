"""Conversion between NumPy and Arrow gives the same result as pyarrow's own conversion, without importing pandas."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from fair_distill.formats import arrow


@pytest.mark.parametrize("kind", [pa.int16(), pa.int32(), pa.int64()])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_numbers_convert_as_in_pyarrow(kind: pa.DataType, count: int) -> None:
    every_second = np.arange(2 * count)[::2]  # not contiguous in memory

    assert arrow.array(every_second, kind).equals(pa.array(every_second, kind))


def test_a_number_that_does_not_fit_is_refused() -> None:
    assert arrow.array(np.array([32767]), pa.int16())[0].as_py() == 32767
    with pytest.raises(pa.ArrowInvalid, match="32768 not in range"):
        arrow.array(np.array([32768]), pa.int16())


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("count", [0, 3])
def test_tensors_convert_as_in_pyarrow(dtype: type, count: int) -> None:
    values = np.arange(count * 24).reshape(count, 2, 3, 4).astype(dtype)

    converted = arrow.tensors(values)

    if count:  # pyarrow refuses to make an empty tensor array
        assert converted.equals(pa.FixedShapeTensorArray.from_numpy_ndarray(values))
    assert np.array_equal(arrow.view(converted).reshape(-1, 2, 3, 4), values)
    assert np.shares_memory(arrow.view(converted), values) or not count


def test_pandas_is_not_imported() -> None:
    code = (
        "import sys, numpy, pyarrow; from fair_distill.formats import arrow; "
        "arrow.view(arrow.tensors(numpy.zeros((2, 3)))), arrow.array(numpy.arange(3), pyarrow.int16()); "
        "sys.exit('pandas' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
