"""`contender init` on data as people have it: what it writes is valid, and a run could take it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import Desk, Ran, tickets

DATA = Path(os.environ.get("CONTENDER_DATA") or Path(__file__).parents[3] / "shared" / "data")


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_init_writes_passes_check(desk: Desk) -> None:
    desk.drop("1.csv", tickets(120, seed=1))
    ran = desk.run("init", "tickets", "--json")
    assert (ran.code, ran.document["path"]) == (0, "pipelines/tickets.yaml")
    assert 'source: "../tickets"' in Path("pipelines/tickets.yaml").read_text().replace("'", '"')
    plan = desk.run("check", "pipelines/tickets.yaml", "--json").document
    assert (plan["rows"], sorted(plan["labels"]), plan["decided"]) == (120, ["blue", "green", "red"], False)


def test_init_never_overwrites(desk: Desk) -> None:
    desk.drop("1.csv", tickets(30, seed=1))
    assert desk.run("init", "tickets").code == 0
    Path("pipelines/tickets.yaml").write_text("mine")
    again = desk.run("init", "tickets", "--json")
    assert (again.code, Path("pipelines/tickets.yaml").read_text()) == (2, "mine")


def test_a_semicolon_file_gets_its_delimiter(command: Callable[..., Ran]) -> None:
    Path("mail.csv").write_text(
        "subject line;kind\n" + "".join(f"hello number {n} there;{'ab'[n % 2]}\n" for n in range(60))
    )
    assert command("init", "mail.csv").code == 0
    assert command("check", "pipelines/mail.yaml", "--json").document["labels"] == {"a": 30, "b": 30}


@pytest.mark.parametrize(
    "name", ["banking77/train.csv", "sst2/train.tsv", "sms_spam/SMSSpamCollection.tsv", "youtube_spam"]
)
def test_real_data_gets_a_pipeline_that_checks(command: Callable[..., Ran], name: str) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is absent; CONTENDER_DATA names its folder")
    made = command("init", str(DATA / name), "--json")
    assert made.code == 0, made.shown
    assert command("check", made.document["path"]).code == 0


STORIES = ("--set", f"model.base={DATA / 'model_stories260K'}")
FROM_NOTHING = ("--set", "model.base=builtin:t5-mini", "--set", "model.init=scratch")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("llamafactory_demos/kto_en_demo.json.gz", STORIES),
        ("gsm8k/test.jsonl.gz", STORIES),
        ("sign_digits", ()),
        ("fraud_handbook_sim/transactions_2018-06.parquet", ()),
        ("adult/adult-train.csv.gz", ()),
        ("scitldr_a", FROM_NOTHING),
    ],
)
def test_real_data_of_every_kind_gets_a_pipeline_that_checks(
    command: Callable[..., Ran], name: str, more: tuple[str, ...]
) -> None:
    """`more`: a base that is on this machine, where the one that is written would be fetched."""
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is absent; CONTENDER_DATA names its folder")
    made = command("init", str(DATA / name), "--json")
    assert made.code == 0, made.shown
    checked = command("check", made.document["path"], "--json", *more)
    assert checked.code == 0, checked.shown
    assert checked.document["rows"] == made.document["profile"]["rows"] - made.document["profile"]["left_out"]
