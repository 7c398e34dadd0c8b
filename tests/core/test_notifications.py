"""Who is told of what, and in which words: nothing that comes from data or errors acts in a chat or a mail."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from contender.errors import SpecError
from contender.loading import validate
from contender.notifications import EVENT_OF, EVENTS, every_receiver, receivers, unresolved
from contender.places import local_places
from contender.records import Outcome, RuleResult, Verdict
from contender.reporting.message import BODY_LENGTH, TITLE_LENGTH, WORDS, Around, Message, message_of, what_next
from contender.run import RunResult
from contender.spec import Pipeline, Spec
from contender.text import chat_safe
from contender.yamlfile import parse_yaml

HOOK = "https://hooks.slack.com/services/T000/B000/s3cr3t"
BASE = "name: desk\ntask: text-classification\ndata: {source: tickets/}\nmodel: {base: folder}\n"


def spec(notify: str) -> Spec:
    return validate(parse_yaml(f"{BASE}notify: {notify}\n", "desk.yaml"))


def pipeline(notify: str = "{to: [env:SLACK_URL]}", **more: Any) -> Pipeline:
    value = spec(notify).model_dump() | more
    return Pipeline(spec=Spec.model_validate(value), folder="/nowhere", suite_name="s", suite={})


def refused(notify: str) -> str:
    with pytest.raises(SpecError) as caught:
        spec(notify)
    return str(caught.value)


def test_every_outcome_has_an_event_or_tells_nobody_on_purpose() -> None:
    assert set(EVENT_OF) == set(get_args(Outcome))
    assert {event for event in EVENT_OF.values() if event} == set(EVENTS)
    assert {outcome for outcome, event in EVENT_OF.items() if event is None} == {"up_to_date", "skipped", "interrupted"}
    assert set(WORDS) == {outcome for outcome, event in EVENT_OF.items() if event}


def test_one_section_or_several_say_who_is_told_of_what() -> None:
    one = spec("{to: env:SLACK_URL}").notify
    assert [section.on for section in one] == [("promoted", "rejected", "failed", "budget")]
    several = spec(
        "[{on: [promoted], to: [block:slack-webhook/ml, env:A]}, {on: [failed, promoted], to: [env:A, env:B]}]"
    )
    assert receivers(several.notify, "promoted") == ("block:slack-webhook/ml", "env:A", "env:B"), "each once"
    assert receivers(several.notify, "unknown") == ("env:A", "env:B")
    assert receivers(several.notify, "inconclusive") == receivers(several.notify, "up_to_date") == ()
    assert every_receiver(several.notify) == ("block:slack-webhook/ml", "env:A", "env:B")
    assert spec("[]").notify == ()


@pytest.mark.parametrize(
    "notify",
    [
        f"{{to: [{HOOK}]}}",
        f"{{to: {HOOK}}}",
        f"{{to: ['block:{HOOK}']}}",
        "{to: ['block:slack-webhook']}",
        "{to: ['block:Slack Webhook/ML']}",
        "{to: []}",
        f"{{to: [{', '.join(f'env:A{n}' for n in range(11))}]}}",
        f"{{to: {{url: {HOOK}}}}}",
        f"{{to: [[{HOOK}]]}}",
        "{to: [mailtos://user:s3cr3t@example.com]}",
        "{to: ['env:A B']}",
    ],
)
def test_a_receiver_that_is_no_reference_is_refused_and_not_repeated(notify: str) -> None:
    said = refused(notify)
    assert "desk.yaml:5:" in said and "notify.to" in said
    assert "s3cr3t" not in said and "block:slack-webhook'" not in said


def test_other_mistakes_name_what_is_known() -> None:
    assert "did you mean 'notify.on'" in refused("{onn: [failed], to: env:A}")
    assert "'promoted', 'kept', 'rejected', 'failed' or 'budget'" in refused("{on: [fail], to: env:A}")
    assert "names an event twice" in refused("{on: [failed, failed], to: env:A}")
    assert "notify.on" in refused("{on: [], to: env:A}")
    assert "notify.to is required" in refused("{on: [failed]}")


def test_who_is_told_decides_nothing_about_a_run() -> None:
    assert pipeline("{to: env:A}").digest == pipeline("[{on: [kept], to: env:B}]").digest


def test_a_receiver_without_a_url_is_said_before_anything_depends_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two").write_text(f"{HOOK}\n{HOOK}\n")
    (tmp_path / "url").write_text(f"{HOOK}\n")
    monkeypatch.setenv("HAS_ONE", HOOK)
    monkeypatch.delenv("HAS_NONE", raising=False)
    notify = "{to: [env:HAS_ONE, env:HAS_NONE, file:url, file:two, file:/gone, block:slack-webhook/ml]}"
    made = pipeline(notify).model_copy(update={"folder": str(tmp_path)})
    said = list(unresolved(made))
    assert [next(one for one in ("HAS_NONE", "file:two", "/gone") if one in text) for text in said] == [
        "HAS_NONE",
        "file:two",
        "/gone",
    ]
    assert "s3cr3t" not in str(said)
    assert "notify.to file:two" in local_places(made), "a worker elsewhere has no such file"


def rule(sentence: str = "", **more: Any) -> RuleResult:
    given = {"rule": "superior:accuracy", "kind": "comparison", "set": "test", "metric": "accuracy", "estimate": 0.02}
    return RuleResult(**given | {"threshold": 0.0, "rows": 1204, "outcome": "passed", "sentence": sentence} | more)


def came_to(outcome: Outcome = "promoted", sentence: str = "accuracy +2.0 points.", **more: Any) -> RunResult:
    verdict = Verdict(verdict="PROMOTE", sentence=sentence, rules=(rule(),), judged_against=6)
    sides = {"challenger": {"accuracy": 0.931, "f1_macro": 0.92}, "champion": {"accuracy": 0.911, "f1_macro": 0.9}}
    given: dict[str, Any] = {"release": "r-3fa9", "champion": "r-11aa", "alias_entry": 7, "verdict": verdict}
    given |= {"evaluations": {"test": sides}, "metrics": sides["challenger"], "seconds": 9.0}
    return RunResult(pipeline="desk", outcome=outcome, message=sentence, **given | more)


def failed(message: str, **more: Any) -> RunResult:
    return RunResult(pipeline="desk", outcome="failed", message=message, seconds=1.0, **more)


def test_a_message_says_what_came_of_it_by_how_much_and_where_to_look() -> None:
    around = Around(
        trigger="new data",
        run_link="http://127.0.0.1:4200/runs/flow-run/0b3c",
        report="https://reports.example.com/desk/1.html",
    )
    told = message_of(pipeline(), came_to(), around)
    assert told.title == "desk: promoted r-3fa9"
    assert told.body.splitlines() == [
        "accuracy +2.0 points.",
        "",
        "- on test, champion → challenger: accuracy 0.9110 → 0.9310, f1_macro 0.9000 → 0.9200",
        "- rows judged: 1,204",
        "- release: r-3fa9 is live as entry 7, in place of r-11aa",
        "- started by: new data",
        "- run: http://127.0.0.1:4200/runs/flow-run/0b3c",
        "- report: https://reports.example.com/desk/1.html",
    ]
    assert told.facts["event"] == "promoted" and told.facts["run"] == around.run_link


def test_each_outcome_has_a_title_that_reads() -> None:
    assert message_of(pipeline(), came_to("kept")).title == "desk: kept r-11aa"
    told = message_of(pipeline(), came_to("inconclusive"))
    assert told.title == "desk: inconclusive" and "r-3fa9 was tried, r-11aa stays" in told.body
    first = came_to(champion=None, evaluations={"test": {"challenger": {"accuracy": 0.9}}}, alias_entry=1)
    assert "- on test: accuracy 0.9000" in message_of(pipeline(), first).body
    assert "live as entry 1, the first one" in message_of(pipeline(), first).body
    assert message_of(pipeline(), failed("no rights. Ask for some.")).body == "no rights. Ask for some."


def test_a_failure_says_whether_something_goes_on_by_itself() -> None:
    refused = RunResult(pipeline="desk", outcome="rejected_data", message="12% are empty", seconds=1, snapshot="ab")
    assert "not tried again" in what_next(pipeline(), refused, True)
    assert "same command continues" in what_next(pipeline(), failed("x"), False)
    assert "nothing goes on by itself" in what_next(pipeline(), failed("x"), True)
    looks = pipeline(triggers={"new_data": {}})
    assert "later look" in what_next(looks, failed("x"), True)
    assert "later look" in what_next(looks, refused.model_copy(update={"snapshot": None}), True), "nothing was decided"
    paused = {"cron": "0 3 * * *", "paused": True}
    assert "next scheduled" in what_next(pipeline(schedule=[{"cron": "0 3 * * *"}]), failed("x"), True)
    assert "nothing goes on" in what_next(pipeline(schedule=[paused]), failed("x"), True)
    assert what_next(pipeline(), came_to(), True) == ""


HOSTILE = (
    "<script>alert(1)</script> <!channel> <@U123> <#C1|x> @here @everyone [click](javascript:alert(1)) ![x](http://evil/x) "
    "[a][b]: `code` *bold* ~gone~ <at>All</at> {{body}} {{{{secret}}}} \x1b[31mred\x07 \r\nBcc: all@example.com\n# head "
    "\u202egnp.exe \u2066x \u200b \ud800 https://user:pa55@host/x"
)
ACTS = re.compile(
    r"[<>@`*~\x00-\x09\x0b-\x1f\x7f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]|\]\(|\]\[|\]:|\{\{|pa55"
)


@pytest.mark.parametrize("hostile", [HOSTILE, HOSTILE[::-1], HOSTILE * 60_000])
def test_nothing_from_outside_acts_in_a_chat_or_a_mail(hostile: str) -> None:
    around = Around(trigger=hostile, run_link=f"javascript:{hostile}", report=hostile, next=hostile)
    results = (came_to(sentence=hostile), failed(hostile), failed("x", release=hostile[:90], champion=hostile[:90]))
    for result in results:
        told: Message = message_of(pipeline(), result, around)
        assert not ACTS.search(told.title) and "\n" not in told.title and len(told.title) <= TITLE_LENGTH
        assert not ACTS.search(told.body) and len(told.body) <= BODY_LENGTH
        assert all(line.startswith("- ") or number in (0, 1) for number, line in enumerate(told.body.splitlines()))
        assert not any(ACTS.search(fact) for fact in told.facts.values())


def test_a_link_that_hides_something_is_none() -> None:
    for link in (
        "javascript:alert(1)",
        "http://a b",
        "http://a\nx",
        "https://a/](b",
        "data:text/html,x",
        "http://u@h/x",
    ):
        told = message_of(pipeline(), came_to(), Around(run_link=link))
        assert told.facts["run"] == chat_safe(link, 300)


def test_a_long_line_is_left_out_and_never_cut() -> None:
    link = f"https://example.com/{'x' * 480}"
    around = Around(trigger="t" * 300, run_link=link, report=link, next="n" * 300)
    body = message_of(pipeline(), came_to(sentence="s" * 5000), around).body
    assert len(body) <= BODY_LENGTH and all(line.endswith(link) for line in body.splitlines() if "https" in line)
