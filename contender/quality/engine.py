"""Great Expectations, quietly: one context in memory, no analytics, no progress bars, results by the expectation's number."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import great_expectations as gx
import great_expectations.util
import pandas as pd
from great_expectations.core import ExpectationSuite
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.validator.v1_validator import Validator

import expectations.chats
import expectations.duplicates
import expectations.labels
import expectations.labelsets
import expectations.numbers
import expectations.quantiles
import expectations.tags
import expectations.text
from contender.errors import UsageError
from contender.quality.plan import Planned
from contender.quality.table import in_sqlite
from expectations.duplicates import ROW_INDEX

if TYPE_CHECKING:
    from collections.abc import Iterator

Result = Any  # great_expectations' ExpectationValidationResult, which is not typed

# COMPLETE lists the place of every bad row; the query that GX would print beside it repeats them all.
_FRAME_FORMAT = {"result_format": "COMPLETE", "return_unexpected_index_query": False}
# In SQL GX stops the list of rows at twenty: the query that it gives is run for the rest.
_SQL_FORMAT = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [ROW_INDEX],
    "return_unexpected_index_query": True,
}


# For each decimal that it makes a float, GX (1.24.1) reads the source of every frame of the stack, to see whether its profiler asked:
# minutes for a thousand rows. Nothing here asks through that profiler.
great_expectations.util.stack = list


class _ExactName(str):
    """A column's name that GX (1.24.1) does not take for one that differs in case alone: it folds the case of plain `str`."""

    __slots__ = ()


class Engine:
    """Runs planned expectations on a pandas frame or a SQLite table."""

    def __init__(self) -> None:
        self.context = gx.get_context(mode="ephemeral")
        self.context.variables.progress_bars = ProgressBarsConfig(globally=False)
        self._frames = self.context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
        self._frame = self._frames.add_batch_definition_whole_dataframe("rows")

    def on_frame(self, frame: pd.DataFrame, planned: Sequence[Planned]) -> dict[int, Result]:
        """Number of the expectation → its result; bad rows are given by the frame's index."""
        if not planned:
            return {}
        exact = frame.set_axis(pd.Index([_ExactName(name) for name in frame.columns], dtype="object"), axis=1)
        return self._run(Validator(self._frame, _FRAME_FORMAT, {"dataframe": exact}), planned)

    def on_sqlite(self, file: Path, table: str, planned: Sequence[Planned]) -> dict[int, Result]:
        """As `on_frame`, on a table of a SQLite file; the query for bad rows is in the result."""
        if not planned:
            return {}
        source = self.context.data_sources.add_sqlite(f"table-{table}", connection_string=f"sqlite:///{file}")
        asset = source.add_table_asset(table, table_name=table)
        try:
            validator = Validator(asset.add_batch_definition_whole_table(table), _SQL_FORMAT)
            results = self._run(validator, [in_sqlite(item) for item in planned])
        finally:
            source.get_execution_engine().engine.dispose()
            self.context.data_sources.delete(source.name)
        for expectation in build_suite("rows", planned).expectations:
            results[int(expectation.id)].expectation_config = expectation.configuration
        return results

    def _run(self, validator: Validator, planned: Sequence[Planned]) -> dict[int, Result]:
        suite = build_suite("rows", planned)
        try:
            with quiet():
                results = validator.validate_expectation_suite(suite).results
        except Exception as error:  # noqa: BLE001 - some kwargs end the whole suite: each expectation alone, then
            if len(planned) > 1:
                return {number: result for item in planned for number, result in self._run(validator, [item]).items()}
            results = [_broken(suite, error)]
        return {int(result.expectation_config.id): result for result in results}


def _broken(suite: ExpectationSuite, error: Exception) -> Result:
    """What GX says of an expectation that it caught at raising, for one that it did not catch."""
    return ExpectationValidationResult(
        success=False,
        expectation_config=suite.expectations[0].configuration,
        result={},
        exception_info={"raised_exception": True, "exception_message": str(error), "exception_traceback": ""},
    )


def build_suite(name: str, planned: Sequence[Planned]) -> ExpectationSuite:
    """GX's own suite object; each expectation's id is its number in our suite. UsageError names what GX refuses."""
    suite = ExpectationSuite(name=name)
    for item in planned:
        configuration = ExpectationConfiguration(
            type=item.type, kwargs=dict(item.kwargs), meta=dict(item.meta), severity=item.severity, id=str(item.number)
        )
        try:
            with quiet():
                suite.expectations.append(configuration.to_domain_obj())
        except Exception as error:
            raise UsageError(
                f"expectation {item.number + 1} of the suite, {item.type}, is refused: {_plain(error)}",
                "Correct its kwargs in the suite; expectations/README.md has examples.",
            ) from error
    return suite


def _plain(error: Exception) -> str:
    """pydantic's faults on one line."""
    faults = getattr(error, "errors", None)
    if not callable(faults):
        return " ".join(str(error).split())
    return "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in faults())


def exception_of(result: Result | None) -> str | None:
    """Why GX could not evaluate an expectation; None where it could."""
    info: Mapping[str, Any] = (result and result.exception_info) or {}
    # One exception, or one per metric that the expectation needs.
    for entry in [info] if "raised_exception" in info else list(info.values()):
        if isinstance(entry, Mapping) and entry.get("raised_exception"):
            return " ".join(str(entry.get("exception_message") or "unknown error").split())[:300]
    return None


def registered() -> set[str]:
    """The names of the expectations that GX knows, ours included."""
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    ours = (
        expectations.chats,
        expectations.duplicates,
        expectations.labels,
        expectations.labelsets,
        expectations.numbers,
        expectations.quantiles,
        expectations.tags,
        expectations.text,
    )
    assert all(ours)
    return set(list_registered_expectation_implementations())


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def quiet() -> AbstractContextManager[None]:
    """Keeps GX's log lines and deprecation warnings, which hold row values, off the terminal."""
    return _quiet()
