"""The shape of the code is a promise: arrows between layers, light starts, policies, sizes."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("contender", "tasks", "flows", "deployments", "expectations")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
HEAVY = (
    "prefect",
    "torch",
    "transformers",
    "datasets",
    "great_expectations",
    "evaluate",
    "pandas",
    "pyarrow",
    "boto3",
    "numpy",
)


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules(package: str) -> list[str]:
    found = importlib.import_module(package)
    return [package, *(info.name for info in pkgutil.walk_packages(found.__path__, f"{package}."))]


@pytest.mark.slow
def test_no_core_module_imports_prefect() -> None:
    """Nor does anything that it imports: of our own modules `make lint` says so, faster."""
    names = [name for name in (*modules("contender"), *modules("expectations")) if not name.endswith("__main__")]
    assert len(names) > 30
    imports = "; ".join(f"import {name}" for name in names)
    assert fresh(f"{imports}; import sys; print('prefect' in sys.modules)").split()[-1] == "False"


@pytest.mark.parametrize(
    "module",
    [
        "deployments.cli",
        "deployments.server",
        "contender.loading",
        "contender.run",
        "contender.stages.data",
        "contender.data.source",
    ],
)
def test_what_decides_that_nothing_is_new_imports_nothing_heavy(module: str) -> None:
    found = fresh(f"import {module}, sys; print([name for name in {HEAVY!r} if name in sys.modules])")
    assert found.split("\n")[-2] == "[]"


def test_our_packages_are_named_like_no_other_package() -> None:
    installed = packages_distributions()
    for package in PACKAGES:
        assert set(installed.get(package, [])) <= {"contender-ml"}, package


def test_every_task_holds_a_policy() -> None:
    tasks = [
        value
        for name in modules("tasks")
        for value in vars(importlib.import_module(name)).values()
        if hasattr(value, "task") and getattr(value, "__module__", "") == name
    ]
    assert len(tasks) >= 8
    for call in tasks:
        assert call.task.retries > 0, call
        assert call.task.retry_condition_fn is not None, call
        assert call.task.persist_result is False, call


def test_files_and_functions_stay_small() -> None:
    assert len(SOURCES) > 50
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 350, f"{path.relative_to(ROOT)} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 80, f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {length} lines"


def test_every_module_says_what_it_is_for() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not tree.body or ast.get_docstring(tree), path.relative_to(ROOT)


def test_a_users_own_modules_do_not_shadow_ours(tmp_path: Path) -> None:
    for name in ("contender", "tasks", "flows", "evaluate", "datasets", "expectations"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')\n")
    command = Path(sys.executable).parent / "contender"
    done = subprocess.run([command, "schema"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [command, "schema"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2 or "shadowed" in done.stderr


def test_tasks_known_to_the_spec_are_those_that_have_a_kind() -> None:
    from contender.kinds import kind, tasks
    from contender.names import METRIC_NAMES, TASKS

    assert set(TASKS) == set(tasks()) != set()
    for task, facts in TASKS.items():
        assert kind(task).task == task
        assert facts.target in facts.roles
        assert facts.example in (None, *facts.roles)
        assert set(facts.default_metrics) <= set(facts.metrics) <= set(METRIC_NAMES)
        assert facts.default_metrics
        assert facts.methods
        assert facts.inits


def test_metrics_known_to_the_spec_are_those_that_exist() -> None:
    from contender.evaluation.metrics import METRICS
    from contender.names import METRIC_NAMES

    assert set(METRICS) == set(METRIC_NAMES)


def test_every_guarantee_names_a_test_that_there_is() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text)) | set(re.findall(r"(tests/[\w/]+\.py)", text))
    assert len(named) > 20
    tests = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py")}
    functions = set(re.findall(r"def (test_\w+)", "\n".join(tests.values())))
    assert sorted(named - functions - set(tests)) == []


def test_the_files_of_tests_that_begin_first_are_there() -> None:
    text = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    named = re.findall(r'^    "(\w+/[\w/]+\.py)",$', text, re.MULTILINE)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []
