"""What a selection came to: every base model with its score, what it costs, and which one is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from contender.judging.words import amount, in_sentence, value
from contender.names import API
from contender.records import Record
from contender.reporting.wording import duration, rough
from contender.text import shorten

Way = Literal["linear-probe", "fine-tune", "zero-shot", "few-shot", "full"]
THOUSAND = 1000  # predictions, that the cost of serving is told for
HOUR = 3600.0
MESSAGE = 100  # characters of a reason in the leaderboard


class ComparedBase(Record):
    """One base model, compared in one way; money is in the currency of the spec's prices."""

    number: int = Field(description="its place in model.base, from 1")
    name: str
    way: Way
    state: Literal["finished", "failed"]
    message: str = Field(default="", description="why it failed")
    score: float | None = Field(default=None, description="of the primary metric on validation")
    low: float | None = Field(default=None, description="95% bounds of that, from the rows alone")
    high: float | None = None
    metrics: dict[str, float] = {}
    rows: int = Field(default=0, description="of validation that it answered")
    asked_score: float | None = Field(
        default=None, description="on those rows alone that bases of api: were asked; where there are any"
    )
    examples: int = Field(default=0, description="training rows that it was shown")
    seconds: float = Field(default=0.0, description="in the training loop, or to answer")
    preparing_seconds: float = Field(default=0.0, description="before that, to read the base and prepare the rows")
    energy_kwh: float | None = Field(default=None, description="that its device drew in the loop; None: not told")
    budget_spent: bool = Field(default=False, description="whether it ended where the budget did: the best so far")
    training_seconds: float | None = Field(
        default=None,
        description="of the whole training, reading and preparing among them; None: this one does not tell",
    )
    latency_ms: float | None = Field(default=None, description="median of one prediction")
    device: str | None = Field(default=None, description="that latency_ms is of; None: somebody else's")
    megabytes: float | None = Field(default=None, description="of the weights")
    parameters: int | None = None
    input_tokens: int | None = Field(default=None, description="that the provider counted, for all rows")
    output_tokens: int | None = None
    unnamed: int = Field(
        default=0, description="answers that name none of the labels, or several, or hold no text; they count as wrong"
    )
    cost: float | None = Field(default=None, description="of this comparison")
    training_cost: float | None = Field(default=None, description="of the whole training")
    cost_per_1000: float | None = Field(default=None, description="of a thousand predictions, one at a time")
    model: str | None = Field(default=None, description="the key of its training in the workspace")

    @property
    def is_asked(self) -> bool:
        """Whether it is somebody else's, asked over the network: it can be neither trained nor released."""
        return self.name.startswith(API)

    @property
    def took(self) -> float:
        """Seconds, altogether."""
        return self.preparing_seconds + self.seconds

    def at(self, price_per_hour: float | None) -> ComparedBase:
        """With what its device-hours cost; what an API costs is known from its tokens."""
        if price_per_hour is None or self.is_asked or self.state == "failed":
            return self
        each = price_per_hour / HOUR
        found = {
            "cost": self.took,
            "training_cost": self.training_seconds,
            "cost_per_1000": None if self.latency_ms is None else self.latency_ms / 1000 * THOUSAND,
        }
        return self.model_copy(update={name: None if of is None else of * each for name, of in found.items()})


class SelectionReport(Record):
    """The bases of a selection in the order of model.base, those that were trained in full behind them, and the one that goes on."""

    primary: str
    higher_is_better: bool
    set: str = "validation"
    rows: int = Field(description="of that set")
    sample: int = Field(description="training rows that bases were compared on")
    bases: tuple[ComparedBase, ...]
    kept: tuple[int, ...] = Field(description="numbers of the bases that were kept, the best first")
    chosen: int = Field(description="number of the base that goes on; of several, the best so far")
    searched: bool = Field(default=False, description="whether a search tries all that were kept")

    @property
    def winner(self) -> ComparedBase:
        """The chosen base as it was compared last."""
        return next(base for base in reversed(self.bases) if base.number == self.chosen)

    @property
    def seconds(self) -> float:
        """That comparing took on our own devices, less the training of the chosen one, which is told of elsewhere."""
        return sum(base.seconds for base in self.bases if not base.is_asked and not self._is_final(base))

    def _is_final(self, base: ComparedBase) -> bool:
        return base.number == self.chosen and base.way == "full"

    @property
    def sentence(self) -> str:
        winner, title = self.winner, in_sentence(self.primary)
        others = [base for base in self.bases if base.number != winner.number and not base.is_asked]
        second = best_of([base for base in others if base.way == winner.way], self.higher_is_better)
        count = len({base.number for base in self.bases})
        found = (
            f"{winner.name} is the best of {count} bases: {title} {_scored(self, winner)} on {self.set} by {winner.way}"
        )
        if second is not None:
            found = f"{found}, where {second.name} comes to {_scored(self, second)}"
        failed = [base.name for base in others if base.state == "failed"]
        goes_on = [f"The search tries the {len(self.kept)} that were kept."] if self.searched else []
        said = [
            f"{found}.",
            *goes_on,
            *([f"{', '.join(failed)} could not be compared."] if failed else []),
            *self._of_apis(),
        ]
        return " ".join(said)

    def _of_apis(self) -> list[str]:
        """How the best one that was only asked compares, on the rows that it was asked."""
        best, ours = (
            best_of([base for base in self.bases if base.is_asked], self.higher_is_better),
            self.winner.asked_score,
        )
        if best is None or best.score is None or ours is None:
            return []
        gain = (best.score - ours) * (1 if self.higher_is_better else -1)
        asked = f"{best.name}, only asked ({best.way}, {best.rows:,} rows)"
        if gain > 0:
            return [f"{asked}, is better there by {amount(self.primary, gain)}, and cannot be promoted."]
        return [f"{asked}, is {f'worse there by {amount(self.primary, -gain)}' if gain else 'as good there'}."]


def best_of(bases: Sequence[ComparedBase], higher_is_better: bool) -> ComparedBase | None:
    """The one with the best score, the first named of equals; None where none has one."""
    return next(iter(ranked(bases, higher_is_better)), None)


def ranked(bases: Sequence[ComparedBase], higher_is_better: bool) -> list[ComparedBase]:
    """Those with a score, the best first."""
    sign = 1 if higher_is_better else -1
    finished = [base for base in bases if base.score is not None]
    return sorted(finished, key=lambda base: (-sign * (base.score or 0.0), base.number))


# Title of a column → what it says of a base; one that says nothing of any base is left out.
COLUMNS: dict[str, Callable[[SelectionReport, ComparedBase], str]] = {
    "base": lambda report, base: base.name,
    "compared by": lambda report, base: base.way,
    "on validation": lambda report, base: _scored(report, base),
    "95%": lambda report, base: _interval(report, base),
    "rows": lambda report, base: f"{base.rows:,}" if base.is_asked else "",
    "took": lambda report, base: duration(base.took) if base.took else "",
    "cost": lambda report, base: _money(base.cost),
    "full training": lambda report, base: "" if base.training_seconds is None else duration(base.training_seconds),
    "its cost": lambda report, base: _money(base.training_cost),
    "ms": lambda report, base: "" if base.latency_ms is None else f"{base.latency_ms:,.3g}",
    "1,000 predictions": lambda report, base: _money(base.cost_per_1000),
    "MB": lambda report, base: "" if base.megabytes is None else f"{base.megabytes:,.3g}",
    "parameters": lambda report, base: "" if base.parameters is None else f"{base.parameters / 1e6:,.3g} M",
    "came to": lambda report, base: shorten(base.message, MESSAGE) or _came_to(report, base),
}
SCORES = ("base", "compared by", "on validation", "95%", "rows", "came to")  # columns that say how good a base is
WORDS = ("base", "compared by", "came to")  # columns that hold no numbers


def leaderboard(report: SelectionReport) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns, and a row per base and way, the best first, failed ones last."""
    finished = ranked(report.bases, report.higher_is_better)
    full = [base for base in finished if base.way == "full"]
    ordered = [*full, *(base for base in finished if base.way != "full")]
    ordered += [base for base in report.bases if base.score is None]
    cells = {title: [told(report, base) for base in ordered] for title, told in COLUMNS.items()}
    said = {title: column for title, column in cells.items() if any(column)}
    return tuple(said), list(zip(*said.values(), strict=True))


def _came_to(report: SelectionReport, base: ComparedBase) -> str:
    if base.is_asked:
        unnamed = f", {base.unnamed:,} answers say nothing" if base.unnamed else ""
        return f"only asked{unnamed}"
    if base.number == report.chosen and not report.searched:
        return "chosen"
    return "kept" if base.number in report.kept else ""


def _scored(report: SelectionReport, base: ComparedBase) -> str:
    return "" if base.score is None else value(report.primary, base.score)


def _interval(report: SelectionReport, base: ComparedBase) -> str:
    if base.low is None or base.high is None:
        return ""
    return f"{value(report.primary, base.low)} to {value(report.primary, base.high)}"


def _money(amount_: float | None) -> str:
    return "" if amount_ is None else rough(amount_)
