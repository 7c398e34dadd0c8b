"""What of an answer counts, and who says that one is better than another: what a spec names, and the figures that come of it.

Expressions are RE2's: their time grows with the text and never explodes, whatever the pattern and whatever a model writes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.errors import StageFailed, UsageError
from contender.text import shorten

if TYPE_CHECKING:
    import pyarrow as pa

JUDGE = re.compile(r"(?P<file>[^:]+\.py):(?P<function>[A-Za-z_]\w*)")
WORDS = {"win": 1.0, "tie": 0.5, "loss": 0.0}

Judge = Callable[[list[dict[str, str]], str, str], Any]


def answer_pattern(value: str) -> str:
    """A pattern itself; ValueError where RE2 has none such, or it has no group."""
    try:
        compiled = _compiled(value)
    except Exception as error:  # re2.error derives from Exception alone
        raise ValueError(
            f"is no regular expression of RE2, which has no look-around and no back-references: {error}"
        ) from error
    if compiled.groups < 1:
        raise ValueError("has no group: put what counts into brackets, such as '#### (.+)'")
    return value


def judge_name(value: str) -> str:
    """file.py:function itself; ValueError for anything else."""
    if not JUDGE.fullmatch(value):
        raise ValueError("must be a Python file and a function in it, such as judge.py:prefer")
    return value


def judge_source(folder: Path, name: str) -> str:
    """The text of the file that `name` says, beside the YAML; UsageError where it does not define the function."""
    file, function = _parts(name)
    path = folder / file
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else f"it cannot be read: {error}"
        raise UsageError(f"{file}: {why}", "Paths are relative to the YAML.") from error
    try:
        found = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file} is no Python: {error}", "Correct it.") from error
    if function not in found:
        raise UsageError(f"{file} defines no function {function}", f"It defines: {', '.join(sorted(found)) or 'none'}")
    return text


def with_exact(outcomes: pa.Table, pattern: str) -> pa.Table:
    """The outcomes with the figure `exact`: 1 where what the pattern finds first in both texts is the same, up to space around it.

    A reference in which it finds nothing counts as a whole; a prediction in which it finds nothing is wrong.
    """
    import pyarrow as pa

    compiled = _compiled(pattern)

    def part(text: str) -> str | None:
        found = compiled.search(text)
        return None if found is None or found[1] is None else str(found[1]).strip()

    columns = (outcomes.column(name).to_pylist() for name in ("label", "prediction"))
    same = []
    for label, prediction in zip(*columns, strict=True):
        wanted = part(label)
        same.append(float(part(prediction) == wanted if wanted is not None else prediction.strip() == label.strip()))
    return outcomes.append_column("exact", pa.array(same, pa.float64()))


def with_wins(outcomes: pa.Table, cells: Sequence[str], name: str, source: str) -> pa.Table:
    """The outcomes with the figure `win`: what the judge says of each answer beside its reference; 1 it is better, ½ as good.

    `cells`: the conversations of the rows. StageFailed, naming row and message, where the judge raises or says something else.
    """
    import pyarrow as pa

    from contender.data.chats import messages_of, prompt_of

    judge = _loaded(name, source)
    answers, references = (outcomes.column(column).to_pylist() for column in ("prediction", "label"))
    found = []
    for row, (cell, answer, reference) in enumerate(zip(cells, answers, references, strict=True)):
        try:
            said = judge(prompt_of(messages_of(cell) or []), answer, reference)
        except Exception as error:
            raise StageFailed(
                f"the judge {name} failed on row {row}: {type(error).__name__}: {shorten(str(error), 300)}",
                "Correct the function; the answers are kept, and a new run asks it again.",
            ) from error
        found.append(_preference(said, name, row))
    return outcomes.append_column("win", pa.array(found, pa.float64()))


def _preference(said: Any, name: str, row: int) -> float:
    if isinstance(said, str) and said in WORDS:
        return WORDS[said]
    try:
        number = float("nan") if isinstance(said, str) else float(said)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number <= 1:
        raise StageFailed(
            f"the judge {name} said {shorten(repr(said), 100)} of row {row}",
            "It must return a number from 0 to 1, or win, tie or loss, seen from the answer.",
        )
    return number


def _loaded(name: str, source: str) -> Judge:
    file, function = _parts(name)
    module: dict[str, Any] = {"__name__": "contender_judge", "__file__": file}
    try:
        exec(compile(source, file, "exec"), module)  # noqa: S102 - the user's own code, which the spec names
        found: Judge = module[function]
    except Exception as error:
        raise StageFailed(
            f"the judge {name} cannot be loaded: {type(error).__name__}: {shorten(str(error), 300)}",
            "It may import what is installed here, and nothing that lies beside it.",
        ) from error
    return found


def _parts(name: str) -> tuple[str, str]:
    found: Mapping[str, str] = JUDGE.fullmatch(name) or {"file": "", "function": ""}  # type: ignore[assignment]
    return found["file"], found["function"]


def _compiled(pattern: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)
