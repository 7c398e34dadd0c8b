"""The metrics of tags give seqeval's values, from sums over sentences."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.errors import DataError
from contender.evaluation.metrics import compute, metric
from contender.evaluation.outcomes import from_table
from contender.judging.resampling import bootstrap

ENTITY = ("entity_f1", "entity_precision", "entity_recall")
BIO = ["O", "O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
IO = ["O", "O", "I-PER", "I-LOC"]
OTHER = [*BIO, "S-LOC", "E-LOC", "B", "I", "I-date-of-birth"]


def outcomes(labels, predictions):
    return pa.table({"label": list(map(json.dumps, labels)), "prediction": list(map(json.dumps, predictions))})


def seqeval_of(labels, predictions):
    from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "entity_f1": f1_score(labels, predictions),
            "entity_precision": precision_score(labels, predictions),
            "entity_recall": recall_score(labels, predictions),
            "token_accuracy": accuracy_score(labels, predictions),
        }


def sentences(tags):
    pair = st.tuples(st.sampled_from(tags), st.sampled_from(tags))
    return st.lists(st.lists(pair, min_size=1, max_size=9), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(st.one_of(sentences(BIO), sentences(IO), sentences(OTHER)))
def test_sums_over_sentences_give_exactly_what_seqeval_says_of_the_corpus(found):
    labels, predictions = ([[pair[place] for pair in sentence] for sentence in found] for place in (0, 1))
    assert compute(outcomes(labels, predictions), [*ENTITY, "token_accuracy"]) == pytest.approx(
        seqeval_of(labels, predictions), abs=1e-12
    )


@pytest.mark.parametrize(
    ("tags", "answer", "counts"),
    [
        # IO: words of one type in a row are one entity, so finding half of it finds nothing.
        (["I-PER", "I-PER", "O"], ["I-PER", "O", "O"], [0, 1, 1]),
        # BIO: two entities of one type stand beside each other.
        (["B-PER", "B-PER", "O"], ["B-PER", "I-PER", "O"], [0, 1, 2]),
        # I- behind O begins an entity, as conlleval has it; the place decides, not the letter.
        (["O", "B-PER", "I-PER"], ["O", "I-PER", "I-PER"], [1, 1, 1]),
        # I- of another type begins one too.
        (["B-PER", "I-LOC"], ["B-PER", "B-LOC"], [2, 2, 2]),
        (["O"], ["O"], [0, 0, 0]),
    ],
)
def test_entities_are_read_as_conlleval_reads_them(tags, answer, counts):
    found = metric("entity_f1").statistics(from_table(outcomes([tags], [answer])))
    assert found.tolist() == [counts]


def test_where_nothing_is_to_be_found_and_nothing_is_the_share_is_zero():
    assert compute(outcomes([["O"]], [["O"]]), ENTITY) == dict.fromkeys(ENTITY, 0.0)


def test_rows_of_one_cell_have_the_same_statistics():
    generator = np.random.default_rng(3)
    table = outcomes(*(generator.choice(BIO, (2, 200, 4)).tolist()))
    for name in (*ENTITY, "token_accuracy"):
        measured, held = metric(name), from_table(table)
        statistics, cells = measured.statistics(held), measured.cells(held)
        assert 1 < len(np.unique(cells)) < 100
        for cell in np.unique(cells):
            assert len(np.unique(statistics[cells == cell], axis=0)) == 1


def test_types_are_told_apart_the_commonest_first():
    from contender.evaluation.outcomes import Paired
    from contender.reporting.entities import entity_types

    labels = [["B-PER", "I-PER", "B-LOC"], ["B-LOC", "O", "O"]]
    ours = [["B-PER", "I-PER", "B-LOC"], ["O", "B-LOC", "B-ORG"]]
    theirs = [["B-PER", "O", "B-LOC"], ["B-LOC", "O", "O"]]
    both = Paired(from_table(outcomes(labels, ours)), from_table(outcomes(labels, theirs)))
    found = [(one.type, one.there, one.precision, one.recall, one.f1, one.champion_f1) for one in entity_types(both)]
    assert found == [("LOC", 2, 0.5, 0.5, 0.5, 1.0), ("PER", 1, 1.0, 1.0, 1.0, 0.0), ("ORG", 0, 0.0, 0.0, 0.0, 0.0)]


def test_the_judge_resamples_entities_sentence_by_sentence():
    generator = np.random.default_rng(4)
    truth = generator.choice(["O", "O", "B-PER", "B-LOC"], (300, 5))
    wrong = generator.random((2, 300, 5)) < np.array([0.1, 0.3])[:, None, None]
    ours, theirs = (from_table(outcomes(truth.tolist(), np.where(miss, "O", truth).tolist())) for miss in wrong)
    found = bootstrap("entity_f1", ours, theirs, seed=1, resamples=2_000)
    gain = metric("entity_f1").score(ours) - metric("entity_f1").score(theirs)
    assert found.estimate == pytest.approx(gain)
    assert found.p_above(0.0, 0.05) < 0.001
    low, high = found.bounds(0.025)
    assert low < gain < high < 0.3


@pytest.mark.parametrize(
    ("label", "prediction", "said"),
    [
        ("billing", '["O"]', "'billing' is no list of tags"),
        ('["O"]', '["O", ""]', "is no list of tags"),
        ('["O"]', '[["O"]]', "is no list of tags"),
        ('["O", "O"]', '["O"]', "2 tags as its label and 1 as its prediction"),
    ],
)
@pytest.mark.parametrize("name", ["entity_f1", "token_accuracy"])
def test_outcomes_without_tags_are_refused(name, label, prediction, said):
    with pytest.raises(DataError, match=said.replace("[", r"\[")):
        compute(pa.table({"label": [label], "prediction": [prediction]}), [name])


WNUT17 = Path(os.environ.get("CONTENDER_DATA", Path(__file__).parents[3] / "shared" / "data")) / "wnut17"


@pytest.mark.parametrize(
    ("system", "f1"),
    [("uh_ritual", 41.86), ("spinningbytes.txt", 40.78), ("arcada", 39.98), ("drexel_cci", 26.30)],
)
@pytest.mark.skipif(not WNUT17.is_dir(), reason="needs the WNUT17 data in CONTENDER_DATA or ../shared/data")
def test_the_systems_of_wnut17_get_the_figures_that_were_published(system, f1):
    """As the shared task published them: Derczynski et al., W-NUT 2017."""

    def tags(file):
        blocks = (WNUT17 / file).read_text("utf-8").replace("\r", "").split("\n")
        found = [[]]
        for line in blocks:
            if line.strip():
                found[-1].append(line.split()[-1])
            elif found[-1]:
                found.append([])
        return [sentence for sentence in found if sentence]

    table = outcomes(tags("emerging.test.annotated"), tags(f"submissions/{system}"))
    assert table.num_rows == 1_287
    assert round(100 * compute(table, ["entity_f1"])["entity_f1"], 2) == f1
