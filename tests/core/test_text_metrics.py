"""The metrics of generated texts are sacreBLEU's and rouge-score's values, from sums over rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.evaluation.metrics import compute, metric
from contender.evaluation.metrics._texts import KEPT
from contender.evaluation.outcomes import from_arrays
from contender.judging.words import in_sentence

NAMES = ("bleu", "bleu_char", "chrf", "rouge1", "rouge2", "rougeL")
WORDS = ["the", "cat", "cats", "running", "ran", "Zürich,", "don't", ".", "a b", "東京へ", "行く", "9.5", ""]

texts = st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join)
rows = st.lists(st.tuples(st.lists(texts, min_size=1, max_size=3), texts), min_size=1, max_size=6)


def outcomes(pairs):
    """Of (references, prediction) pairs, a single reference as it is."""
    labels = [wanted[0] if len(wanted) == 1 else json.dumps(wanted) for wanted, _ in pairs]
    return from_arrays(label=labels, prediction=[text for _, text in pairs])


def streams(pairs):
    """References as sacreBLEU takes them: the first of every row, the second, …; None where a row has fewer."""
    most = max(len(wanted) for wanted, _ in pairs)
    return [[wanted[n] if n < len(wanted) else None for wanted, _ in pairs] for n in range(most)]


@settings(deadline=None, max_examples=60)
@given(rows)
def test_bleu_and_chrf_of_sums_over_rows_equal_sacrebleus_corpus_scores(pairs):
    from sacrebleu.metrics import BLEU, CHRF

    own = {"bleu": BLEU(), "bleu_char": BLEU(tokenize="char"), "chrf": CHRF()}
    given = outcomes(pairs)
    for name, scorer in own.items():
        want = scorer.corpus_score([text for _, text in pairs], streams(pairs)).score / 100
        assert metric(name).score(given) == pytest.approx(want, abs=1e-12), name


@settings(deadline=None, max_examples=20)
@given(rows, st.data())
def test_a_row_that_is_drawn_twice_counts_twice(pairs, data):
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(pairs), max_size=len(pairs)).filter(any))
    repeated = [pair for pair, count in zip(pairs, counts, strict=True) for _ in range(count)]
    for name in NAMES:
        measured = metric(name)
        weighted = measured.value(outcomes(pairs), np.array([counts, counts], float))
        assert weighted == pytest.approx(measured.score(outcomes(repeated)), abs=1e-12), name


ascii_rows = st.lists(
    st.tuples(st.lists(st.text(st.characters(max_codepoint=127), max_size=30), min_size=1, max_size=3), texts),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=25)
@given(ascii_rows)
def test_rouge_is_rouge_scores_mean_of_the_best_reference(pairs):
    from rouge_score.rouge_scorer import RougeScorer

    pairs = [(wanted, text.encode("ascii", "ignore").decode()) for wanted, text in pairs]
    names = ["rouge1", "rouge2", "rougeL"]
    scorer = RougeScorer(names, use_stemmer=True)
    found = [scorer.score_multi(wanted, text) for wanted, text in pairs]
    for name in names:
        want = np.mean([one[name].fmeasure for one in found])
        assert metric(name).score(outcomes(pairs)) == pytest.approx(want, abs=1e-12)


def test_rouge_sees_words_of_every_alphabet():
    def rouge1(wanted, text):
        return metric("rouge1").score(outcomes([([wanted], text)]))

    assert rouge1("Съешь ещё этих булок", "съешь булок") == pytest.approx(2 / 3)
    assert rouge1("où est l'été", "ou est l'ete") == pytest.approx(0.5)
    assert rouge1("東京へ行く", "東京に行く") == pytest.approx(0.8)
    assert rouge1("“running” fast…", "runs fast") == 1.0


def test_a_label_is_a_list_of_references_only_where_it_is_one():
    assert metric("chrf").score(outcomes([(["no", "yes"], "yes")])) == 1.0
    for text in ('["yes"', "[1, 2]", "[]", "[laughs]", "[" * 5_000):
        assert metric("chrf").score(from_arrays(label=[text], prediction=[text])) == 1.0


def test_nothing_in_common_is_zero_and_no_division_by_nothing():
    for prediction in ("", "xyz"):
        for name in NAMES:
            assert metric(name).score(from_arrays(label=["cat"], prediction=[prediction])) == 0.0
    assert compute(_table(["same words"] * 2), NAMES[2:]) == dict.fromkeys(NAMES[2:], 1.0)
    for name in NAMES:
        assert metric(name).value(from_arrays(label=["a"], prediction=["a"]), np.zeros((1, 1))).tolist() == [0.0]


@pytest.mark.slow
def test_a_row_is_counted_once_however_often_its_metric_is_asked(monkeypatch):
    asked = []
    measured = metric("rougeL")
    counted = type(measured).counted
    monkeypatch.setattr(type(measured), "known", {})
    monkeypatch.setattr(type(measured), "counted", lambda self, *row: asked.append(row) or counted(self, *row))
    given = outcomes([(["a b"], "a"), (["a b"], "a"), (["c"], "d")])
    first = measured.score(given)
    assert measured.score(given.take(np.array([0, 1]))) == pytest.approx(2 / 3)
    assert (len(asked), measured.score(given)) == (2, first)
    monkeypatch.setattr(type(measured), "known", dict.fromkeys(map(bytes, np.arange(KEPT)), ()))
    measured.score(given)
    assert len(measured.known) == 2


def test_names_keep_their_capitals_in_sentences():
    assert [in_sentence(name) for name in ("bleu", "chrf", "rougeL", "accuracy")] == [
        "BLEU",
        "chrF",
        "ROUGE-L",
        "accuracy",
    ]


def _table(labels):
    import pyarrow as pa

    return pa.table({"label": labels, "prediction": labels})
