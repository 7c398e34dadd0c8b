"""The account of every code block of README.md and docs/: run by a named test, read by a check, or left out for a reason."""

from __future__ import annotations

import ast
import configparser
import contextlib
import importlib
import io
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from snippets import ROOT, RUN_BY, SHELL, Block, blocks, pages

from contender.errors import ContenderError
from contender.loading import validate
from contender.names import TASKS
from contender.quality.suites import load_suite
from contender.yamlfile import load_yaml, parse_yaml
from deployments.cli import parser
from deployments.docs import pages as generated
from deployments.spec_reference import MEANINGS, consumers, spec_keys, spec_reference

BLOCKS = [block for page in pages() for block in blocks(page)]
# Pictures, and what commands print: a reader types none of it.
SHOWN = ("text",)
READ = ("yaml", "json", "python", "toml", "ini")
ELSEWHERE = ("nginx", "sql")  # run by the page's test, or left out
MINIMAL = """
name: tickets
task: text-classification
model: {base: sentence-transformers/all-MiniLM-L6-v2}
data: {source: tickets/, columns: {text: body, label: intent}}
"""


def of(*languages: str) -> list[Any]:
    found = [block for block in BLOCKS if block.language in languages]
    assert found
    return [pytest.param(block, id=block.where) for block in found]


def test_every_block_says_what_it_is_and_is_run_read_or_left_out_for_a_reason() -> None:
    assert len(BLOCKS) > 100
    for block in BLOCKS:
        assert block.language in (*SHELL, *READ, *SHOWN, *ELSEWHERE), f"{block.where}: {block.language!r}"
        if block.language in (*SHELL, *ELSEWHERE, "python") and block.page not in RUN_BY:
            assert block.left_out, f"{block.where} is run by no test and says no reason"
        if block.left_out is not None:
            assert len(block.left_out) > 10, block.where


def test_pictures_and_output_hold_no_command() -> None:
    for block in BLOCKS:
        if block.language in SHOWN and block.page != "docs/cli.md":
            assert not re.search(r"^\s*(\$ )?contender [a-z]+ ", block.text, re.MULTILINE), block.where


@pytest.mark.parametrize("page", RUN_BY)
def test_a_page_that_is_run_names_a_test_that_there_is_and_that_asks_for_it(page: str) -> None:
    file, _, function = RUN_BY[page].partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert f"def {function}(" in text
    assert "from snippets import" in text
    assert any(block.left_out is None for block in blocks(page)), f"nothing of {page} is run"


@pytest.mark.parametrize("block", of("yaml"))
def test_yaml_is_a_pipeline_a_part_of_one_or_a_suite(block: Block, tmp_path: Path) -> None:
    for document in re.split(r"^---\n", block.text, flags=re.MULTILINE):
        found = parse_yaml(document, block.where).value
        assert isinstance(found, dict), block.where
        if "expectations" in found:
            (tmp_path / "suite.yaml").write_text(document, encoding="utf-8")
            load_suite("suite.yaml", tmp_path)
            continue
        given = merged(parse_yaml(MINIMAL, "minimal").value, found)
        if "task" in found:  # whose roles are others than the minimal pipeline's
            given["data"]["columns"] = found.get("data", {}).get("columns", {})
        for golden in ("on", "golden"):  # a rule on a golden set, in a block that does not name its files
            if re.search(rf"\b{golden}:", document) and not (given["data"].get("golden")):
                given["data"]["golden"] = {name: f"{name}.csv" for name in ("hard", "vip", "hard-cases")}
        with (tmp_path / "pipeline.yaml").open("w", encoding="utf-8") as stream:
            YAML(typ="safe", pure=True).dump(given, stream)
        assert validate(load_yaml(tmp_path / "pipeline.yaml")).name, block.where


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = {**base, **more}
    for name in base.keys() & more.keys():
        if isinstance(base[name], dict) and isinstance(more[name], dict):
            both[name] = merged(base[name], more[name])
    return both


@pytest.mark.parametrize("block", of("json"))
def test_json_is_json(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize("block", of("python"))
def test_python_is_python_and_takes_from_us_what_there_is(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("contender"):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, name.name) for name in node.names), block.where


@pytest.mark.parametrize("block", of("ini", "toml"))
def test_configuration_can_be_read(block: Block) -> None:
    if block.language == "toml":
        assert tomllib.loads(block.text)
    else:
        found = configparser.ConfigParser()
        found.read_string(block.text)
        assert found.sections()


CALL = re.compile(
    r"""(?:^|\$\(|;|&&)[ ]*(?:\w+=\S+ )*contender[ ]((?:"[^"]*"|'[^']*'|[^|;&<>()"'\n])+)""", re.MULTILINE
)


def commands() -> list[Any]:
    """Every call of our command line in a shell block, whether a test runs the block or not."""
    shell = [block for block in BLOCKS if block.language in SHELL]
    found = [
        (block.where, shlex.split(call, comments=True))
        for block in shell
        for call in CALL.findall(block.text.replace("\\\n", ""))
    ]
    assert len(found) > 60
    return [pytest.param(words, id=f"{where} {words[0]}") for where, words in found]


@pytest.mark.parametrize("words", commands())
def test_a_command_of_the_pages_is_one_that_there_is(words: list[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            parser().parse_args([re.sub(r"\$\w+", "1", word) for word in words])
        except SystemExit as left:  # --help, --version
            assert left.code == 0
        except ContenderError as error:
            pytest.fail(str(error))


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_every_key_of_the_spec_has_a_sentence_an_example_and_what_it_changes() -> None:
    page = spec_reference()
    examples = [
        YAML(typ="safe", pure=True).load(document) for block in blocks("docs/spec.md") for document in parts(block)
    ]
    for dotted in spec_keys():
        row = re.search(rf"^\| `{re.escape(dotted)}` \|.*$", page, re.MULTILINE)
        assert row, dotted
        *_, meaning, changes, _ = re.split(r"(?<!\\)\|", row.group())
        assert meaning.strip() and changes.strip(), dotted
        assert dotted in ("name", "task") or any(holds(example, dotted.split(".")) for example in examples), dotted
        assert consumers(dotted) <= set(MEANINGS), dotted


def parts(block: Block) -> list[str]:
    return re.split(r"^---\n", block.text, flags=re.MULTILINE)


def holds(value: Any, path: list[str]) -> bool:
    if isinstance(value, list):
        return any(holds(one, path) for one in value)
    if not path:
        return True
    return isinstance(value, dict) and path[0] in value and holds(value[path[0]], path[1:])


def test_every_command_is_in_the_reference() -> None:
    text = generated()["cli.md"]
    for name in re.findall(r"^    (\w+) ", parser().format_help(), re.MULTILINE):
        assert f"### contender {name}\n" in text, name


def test_the_page_of_kinds_says_what_the_code_knows_of_each_task() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|(.*)\|$", (ROOT / "docs/kinds.md").read_text(encoding="utf-8"), re.MULTILINE)
    rows = [row for row in rows if row[0] != "task"]  # the head
    assert [name for name, _ in rows] == list(TASKS)
    for name, row in rows:
        columns, _, methods, inits, metrics = (cell.strip() for cell in row.split("|"))
        facts = TASKS[name]
        assert set(facts.roles) <= set(re.findall(r"`(\w+)`", columns)), name
        assert (tuple(methods.split(", ")), tuple(inits.split(", "))) == (facts.methods, facts.inits), name
        assert tuple(re.findall(r"`(\w+)`", metrics)) == facts.default_metrics, name
