"""docs/judging.md: its figures are the ones that the code gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contender.judging import paired
from contender.judging.judge import smallest_gain
from contender.judging.spending import alpha_of

PAGE = (Path(__file__).parents[2] / "docs" / "judging.md").read_text(encoding="utf-8")


def test_levels_of_looks_are_those_of_the_ledger():
    for look, said in {1: 3.0, 2: 0.76, 5: 0.12, 10: 0.030, 20: 0.0076, 50: 0.0012}.items():
        assert 100 * alpha_of(look, 0.95) == pytest.approx(said, rel=0.02)


def rows(title: str) -> list[list[str]]:
    """The cells of the first table behind a text."""
    table = re.search(r"\n\|.*?\n\n", PAGE[PAGE.index(title) :], re.DOTALL)
    assert table
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.group().strip().splitlines()[2:]]


def test_rows_said_to_show_a_gain_show_it_with_80_percent_power():
    differ, tried = 0.0, 0
    for cells in rows("## What it costs"):
        differ = float(cells[0].rstrip("%")) / 100 if cells[0] else differ
        gain = float(cells[1].split()[0]) / 100
        for count, alpha in zip(cells[2:], [0.05, *(alpha_of(look, 0.95) for look in (1, 5, 20))], strict=True):
            units = int(count.replace(",", ""))
            assert 0.79 < paired.power(units, gain, max(gain, differ), alpha) < 0.82
            tried += 1
    assert tried == 48


def test_gains_said_to_be_the_smallest_are():
    for cells in rows("And the other way round"):
        units = int(cells[0].replace(",", ""))
        for said, alpha in zip(cells[1:], [0.05, *(alpha_of(look, 0.95) for look in (1, 5, 20))], strict=True):
            assert 100 * smallest_gain(units, alpha) == pytest.approx(float(said.split()[0]), abs=0.051)
