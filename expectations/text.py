"""Row expectations about text: that there is something to read, and that its encoding came through undamaged."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    column_condition_partial,
)

from expectations.sentences import Sentence

# White space, and what takes up no space at all: zero-width characters, soft hyphen, direction marks, fillers.
_INVISIBLE = (
    r"\s\p{Z}\p{Cc}\x{00ad}\x{034f}\x{115f}\x{1160}\x{180e}\x{200b}-\x{200f}\x{202a}-\x{202e}"
    r"\x{2060}-\x{2064}\x{3164}\x{feff}\x{ffa0}"
)
VISIBLE = f"[^{_INVISIBLE}]"

# The replacement character, and control characters other than tab and line ends.
DAMAGED = r"[\x{fffd}\x00-\x08\x0e-\x1f\x7f-\x{9f}]"

# UTF-8 read as Windows-1252 leaves a lead byte's character followed by a continuation byte's: "Ã©" for "é".
_HIGH = "\u0080-\u009f€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_CONTINUATION = _HIGH + "\u00a0-\u00bf"
_SEQUENCE = (
    f"[\u00c2-\u00df][{_CONTINUATION}]|[\u00e0-\u00ef][{_CONTINUATION}]{{2}}|[\u00f0-\u00f4][{_CONTINUATION}]{{3}}"
)
_STRONG = f"[ÂÃ][{_CONTINUATION}]|â[{_HIGH}][{_CONTINUATION}]|ï»¿|ð[Ÿ\u009f][{_CONTINUATION}]{{2}}"
_SEQUENCES, _STRONG_SEQUENCES = re.compile(_SEQUENCE), re.compile(_STRONG)


def is_mojibake(text: str) -> bool:
    """Whether UTF-8 was read as Windows-1252 somewhere in `text`.

    One sequence can stand in real text (a closing guillemet after "É"), so it counts only where it is one of the usual ones and
    the whole text, turned back into bytes, is UTF-8. Two sequences of which one is usual, or four of any kind, count alone.
    """
    sequences = len(_SEQUENCES.findall(text))
    strong = len(_STRONG_SEQUENCES.findall(text))
    return (strong >= 1 and (sequences >= 2 or _turns_back(text))) or (sequences >= 4 and _turns_back(text))


def _turns_back(text: str) -> bool:
    try:
        b"".join(_byte(character) for character in text).decode("utf-8")
    except UnicodeError:
        return False
    return True


def _byte(character: str) -> bytes:
    try:
        return character.encode("cp1252")
    except UnicodeEncodeError:
        return character.encode("latin-1")  # the five bytes that Windows-1252 leaves undefined


def matches(column: pd.Series[Any], pattern: str) -> pd.Series[Any]:
    """Whether each value contains `pattern` (RE2, which knows Unicode classes and never backtracks)."""
    values = pa.array(column.astype(str), type=pa.large_string(), from_pandas=True)
    found = pc.fill_null(pc.match_substring_regex(values, pattern), False)
    return pd.Series(found.to_numpy(zero_copy_only=False), index=column.index, dtype=bool)


class ColumnValuesVisible(ColumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_values.visible"

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series[Any], **_: Any) -> pd.Series[Any]:  # noqa: N805
        return matches(column, VISIBLE)


class ExpectColumnValuesToBeVisible(Sentence, ColumnMapExpectation):  # type: ignore[misc]
    """Expect every value to hold a character that can be seen.

    White space alone fails, and so do zero-width characters, soft hyphens and direction marks alone. Null is not looked at:
    `expect_column_values_to_not_be_null` is its own expectation.

        - type: expect_column_values_to_be_visible
          kwargs: {column: text}
    """

    map_metric = "column_values.visible"
    sentence: ClassVar[str] = "$column values must hold a visible character."


class ColumnValuesUndamagedText(ColumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_values.undamaged_text"

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series[Any], **_: Any) -> pd.Series[Any]:  # noqa: N805
        damaged = matches(column, DAMAGED)
        suspects = column[matches(column, _STRONG + "|" + _SEQUENCE) & ~damaged]
        damaged[suspects.index[[is_mojibake(str(text)) for text in suspects]]] = True
        return ~damaged


class ExpectColumnValuesToBeUndamagedText(Sentence, ColumnMapExpectation):  # type: ignore[misc]
    """Expect text whose encoding came through: no U+FFFD, no control characters (tab and line ends are fine), no mojibake.

    U+FFFD stands where bytes could not be decoded; mojibake ("Ã©" for "é") is UTF-8 that was read as Windows-1252.

        - type: expect_column_values_to_be_undamaged_text
          kwargs: {column: text}
    """

    map_metric = "column_values.undamaged_text"
    sentence: ClassVar[str] = (
        "$column values must not show damage to their encoding: U+FFFD, control characters, mojibake."
    )
