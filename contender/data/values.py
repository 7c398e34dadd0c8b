"""Values of columns: which Arrow types rows keep, how types of several files meet, and every value as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

TOO_DEEP = "(nested too deep)"


def plain(array: pa.Array) -> pa.Array:
    """The array in a type that every later stage reads: dictionaries and views resolved, the exotic as JSON text."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        array, kind = array.storage, kind.storage_type
    if pt.is_dictionary(kind):
        return plain(array.cast(kind.value_type))
    if pt.is_large_string(kind) or pt.is_string_view(kind):
        return array.cast(pa.string())
    if pt.is_large_binary(kind) or pt.is_binary_view(kind) or pt.is_fixed_size_binary(kind):
        return array.cast(pa.binary())
    if pt.is_float16(kind):
        return array.cast(pa.float32())
    return array if _kept(kind) else as_text(array)


def _kept(kind: pa.DataType) -> bool:
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        return _kept(kind.value_type)
    if pt.is_struct(kind):
        return all(_kept(kind.field(n).type) for n in range(kind.num_fields))
    simple = (
        pt.is_null,
        pt.is_boolean,
        pt.is_integer,
        pt.is_floating,
        pt.is_string,
        pt.is_binary,
        pt.is_date,
        pt.is_time,
    )
    return any(test(kind) for test in (*simple, pt.is_timestamp, pt.is_duration, pt.is_decimal128))


def meeting(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The type that holds the values of both; text where they do not agree."""
    if first == second or pt.is_null(second):
        return first
    if pt.is_null(first):
        return second
    if pt.is_integer(first) and pt.is_integer(second) and pa.uint64() not in (first, second):
        return pa.int64()
    numbers = [pt.is_integer(kind) or pt.is_floating(kind) for kind in (first, second)]
    return pa.float64() if all(numbers) and pa.uint64() not in (first, second) else pa.string()


def as_type(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    return as_text(array) if pt.is_string(kind) else array.cast(kind, safe=False)


def as_text(array: Any) -> Any:
    """An array or chunked array as text: numbers as Arrow writes them, nested values as JSON, undecodable bytes as U+FFFD."""
    if isinstance(array, pa.ChunkedArray):
        return pa.chunked_array([as_text(chunk) for chunk in array.chunks], type=pa.string())
    kind = array.type
    if pt.is_string(kind):
        return array
    if pt.is_dictionary(kind):
        return as_text(array.cast(kind.value_type))
    try:
        if not pt.is_nested(kind):
            return array.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    return pa.array([_text(value) for value in array.to_pylist()], type=pa.string())


def decoded(array: pa.Array) -> pa.Array:
    """Binary cells as text, each undecodable byte sequence as U+FFFD."""
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array(
            [None if cell is None else cell.decode("utf-8", "replace") for cell in array.to_pylist()], pa.string()
        )


def from_python(values: Sequence[Any]) -> pa.Array:
    """Values as `json` gives them: of one type where they share it, else as text; nested ones as JSON text."""
    try:
        array = pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _texts(values)
    return _texts(values) if pt.is_nested(array.type) or not _kept(array.type) else array


def _texts(values: Sequence[Any]) -> pa.Array:
    return pa.array([_text(value) for value in values], type=pa.string())


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float):
        return str(pa.scalar(value).cast(pa.string()).as_py())
    if isinstance(value, str):
        return without_surrogates(value)
    try:
        return without_surrogates(json.dumps(value, ensure_ascii=False, default=str))
    except RecursionError:  # what could just be read may be too deep to be written
        return TOO_DEEP


def without_surrogates(text: str) -> str:
    r"""Half a surrogate pair, which JSON's \ud800 can hold and UTF-8 cannot, becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
