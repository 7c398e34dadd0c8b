"""What things came to: the result of a run, a verdict as a small table, the series of champions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from contender.monitoring import COLUMNS, Observation
from contender.run import RunResult
from contender.stages.measuring import Measured
from contender.text import blocks, terminal_safe
from contender.verdict import RuleResult, Verdict
from deployments.loudness import Loudness
from deployments.terminal import MARKS, Cell, Column, say, show_table

OBSERVATIONS = 20  # of the monitoring series that are shown
RULE_MARKS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "undecided": ("?", "yellow")}
# The columns of the series that a narrow terminal does without, the last one first.
SPARE = {"metric", "95% bounds", "drift of labels", "unknown labels"}
VERDICT_OUTCOMES = {"PROMOTE": "promoted", "KEEP": "kept", "INCONCLUSIVE": "inconclusive"}

Evaluations = Mapping[str, Mapping[str, Mapping[str, float]]]  # set → challenger or champion → metric → value


def marked(outcome: str, text: str | None = None) -> Text:
    """An outcome as its mark and its word, or another text, in its colour."""
    mark, style = MARKS.get(outcome, ("✗", "bold red"))
    return Text(f"{mark} {terminal_safe(text or outcome.replace('_', ' '))}", style=style)


def show_result(out: Console, result: RunResult | Measured, loudness: Loudness = Loudness.NORMAL) -> None:
    """What a run came to in one sentence, a verdict's rules as a table, and where to look next."""
    show_sentence(out, marked(result.outcome), result.message)
    if loudness == Loudness.QUIET:
        return
    if isinstance(result, RunResult) and result.verdict:
        show_rules(out, result.verdict, result.evaluations)
    for name, place in _places(result):
        out.print(f"  {name:<11}{terminal_safe(place)}", soft_wrap=True, markup=False)


def show_sentence(out: Console, mark: Text, sentence: str) -> None:
    """A mark and a sentence, which is broken beside the mark where a terminal has no room for it."""
    if out.soft_wrap:
        out.print(Text.assemble(mark, f"  {terminal_safe(sentence)}"), soft_wrap=True)
        return
    line = Table.grid(padding=(0, 2))
    line.add_column(no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(mark, Text(terminal_safe(sentence)))
    out.print(line)


def _places(result: RunResult | Measured) -> Iterator[tuple[str, str]]:
    """Where to look next: a word, and the place."""
    if isinstance(result, RunResult) and result.release:
        live = {"promoted": f", live by entry {result.alias_entry}", "up_to_date": ""}.get(result.outcome, ", not live")
        yield "release", f"{result.release}{live}"
    for name in ("quarantine", "conflicts", "data_docs", "report"):
        if place := getattr(result, name, None):
            yield name.replace("_", " "), place


def show_rules(out: Console, verdict: Verdict, evaluations: Evaluations | None = None) -> None:
    """Every rule that was judged, and how much of each held-out set's life is used."""
    from contender.judging.words import look_sentence

    judged = [
        rule for rule in verdict.rules if rule.outcome != "reported"
    ]  # what has too little to judge is in the report
    if judged:
        columns = (
            Column("", whole=True),
            Column("rule", whole=False, least=24),
            Column("champion\n→ challenger", right=True),
            Column("difference", right=True),
            Column("p", right=True, spare=True),
            Column("rows", right=True, spare=True),
        )
        show_table(out, columns, [_rule_row(rule, evaluations or {}, oneline=out.soft_wrap) for rule in judged])
    for look in verdict.looks:
        show_sentence(out, Text(" "), look_sentence(look))


def _rule_row(rule: RuleResult, evaluations: Evaluations, oneline: bool) -> list[Cell]:
    """A rule in the words of the report; in a terminal, a difference stands above its interval, and p above its level."""
    from contender.reporting.wording import asked, rule_name

    mark, style = RULE_MARKS[rule.outcome]
    p = []
    if rule.p_value is not None:
        p.append(f"{rule.p_value:.2g}" if rule.p_value >= 1e-4 else "< 0.0001")
    if rule.alpha is not None:
        p.append(f"of {rule.alpha:.2g}")
    return [
        Text(mark, style=style),
        f"{rule_name(rule)}, {asked(rule)}",
        _values(rule, evaluations),
        Text((", " if oneline else "\n").join(_difference(rule))),
        Text((" " if oneline else "\n").join(p)),
        f"{rule.rows:,}",
    ]


def _compares(rule: RuleResult) -> bool:
    """Whether its estimate is a difference to the champion."""
    from contender.judging.words import MEASURES

    return rule.kind != "floor" and rule.metric not in MEASURES


def _difference(rule: RuleResult) -> list[str]:
    """The gain and its interval, in the same unit; the interval of the value itself, where that is what is judged."""
    from contender.judging.words import amount
    from contender.reporting.wording import bounds

    gain = [amount(rule.metric, rule.estimate, sign=True)] if _compares(rule) else []
    interval = bounds(rule) if rule.low is not None and rule.high is not None else ""
    return [*gain, *([interval.replace(" points", "")] if interval else [])]


def _values(rule: RuleResult, evaluations: Evaluations) -> str:
    """Champion → challenger, as far as they are known: of slices the difference alone is kept."""
    from contender.judging.words import value

    if not _compares(rule):
        return value(rule.metric, rule.estimate)
    held = {} if rule.slice else evaluations.get(rule.set, {})
    both = [held.get(role, {}).get(rule.metric) for role in ("champion", "challenger")]
    return " → ".join(value(rule.metric, number) for number in both if number is not None)


def show_monitoring(out: Console, series: Sequence[Observation]) -> None:
    """The champions on rows that were new to them, the newest last; the line above draws the metric, higher for more."""
    shown = series[-OBSERVATIONS:]
    if not shown:
        return
    earlier = len(series) - len(shown)
    say(out, f"the champion on new rows{f' (and {earlier:,} times before)' if earlier else ''}: {sparkline(shown)}")
    columns = [Column(title, right=title in ("rows", "value"), spare=title in SPARE) for title in COLUMNS]
    show_table(out, columns, [one.row for one in shown])


def sparkline(series: Sequence[Observation]) -> str:
    """A block for each value of the newest one's metric, from the lowest to the highest of them."""
    primary = series[-1].primary
    return blocks([one.metrics[primary] for one in series if primary in one.metrics])
