"""Lists of labels are sets: their order and repeats say nothing, to the split, to counts and to the champion's series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from reports import Page, report_input

from contender.data.jsonlists import label_counts, label_sets
from contender.data.split import split
from contender.errors import DataError
from contender.names import TASKS
from contender.records import ReleaseManifest, SplitDefinition
from contender.reporting.card import render_card
from contender.reporting.entities import label_types
from contender.reporting.report import render_report
from contender.stages.monitoring import measured

TASK = TASKS["multi-label-classification"]
COLUMNS = {"text": "body", "labels": "topics"}


def write(path, rows):
    count = len(rows)
    table = pa.table(
        {
            "body": [text for text, _ in rows],
            "topics": [labels for _, labels in rows],
            "_file": ["a"] * count,
            "_row": pa.array(range(count), pa.int64()),
        }
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    return path


def dealt(folder, rows, golden):
    folder.mkdir()
    np.save(folder / "admitted.npy", np.arange(len(rows)))
    definition = SplitDefinition(key="text", test=0.0, validation=0.1, salt="00" * 8, normaliser=1)
    sets = {"hard": write(folder / "golden.arrow", golden)}
    source = write(folder / "source.arrow", rows)
    return split(source, folder / "admitted.npy", COLUMNS, [], definition, sets, folder, task=TASK)


def rows_of(*written):
    return [(f"text number {place} about {labels}", labels) for place, labels in enumerate(written * 10)]


def test_sets_are_written_in_one_way_whatever_a_file_says():
    found = label_sets(pa.array(['["b", "a", "b"]', "[]", '[ "\\u00e4" ]', '["\\ud800"]']))
    assert found.to_pylist() == ['["a", "b"]', "[]", '["ä"]', '["�"]']
    with pytest.raises(DataError, match="'a, b' is no list of labels"):
        label_sets(pa.array(["[]", "a, b"]))


def test_counts_are_of_labels_the_commonest_first():
    cells = pa.array(['["b", "a"]', '["a"]', "[]", None, "no list"])
    assert list(label_counts(cells, "set").items()) == [("a", 2), ("b", 1)]
    assert label_counts(pa.array(["x", "y", "x", None]), "one") == {"x": 2, "y": 1}
    assert not label_counts(cells, "none")


def test_the_order_of_a_list_moves_no_row_and_contradicts_none(tmp_path):
    golden = [("held out", '["a", "b"]'), ("Held  out", '["b", "a"]'), ("torn", '["a"]'), ("torn", "[]")]
    found = dealt(tmp_path / "one", rows_of('["a", "b"]', "[]", '["b"]'), golden)
    assert (found.rows["golden-hard"], found.removed_duplicates, found.removed_conflicts) == (1, 1, 2)
    assert found.labels == ("a", "b")
    assert found.label_counts["golden-hard"] == {"a": 1, "b": 1}
    turned = [
        (text, labels.replace('["a", "b"]', '["b", "a"]')) for text, labels in rows_of('["a", "b"]', "[]", '["b"]')
    ]
    assert dealt(tmp_path / "other", turned, golden).digests == found.digests
    with pytest.raises(DataError, match="fewer than two labels: a"):
        dealt(tmp_path / "few", rows_of('["a"]', "[]"), golden)
    with pytest.raises(DataError, match="'a' is no list of labels"):
        dealt(tmp_path / "bad", rows_of('["a"]', '["b"]'), [("held out", "a")])


def test_the_series_tells_labels_that_the_champion_does_not_know_and_how_shares_moved():
    files = {"release": "r-" + "0" * 16, "digest": "0" * 64, "files": (), "created": "2026-11-27T00:00:00Z"}
    release = ReleaseManifest(
        kind="multi-label-classification",
        columns=COLUMNS,
        label_names=("a", "b"),
        lineage={"label_shares": {"a": 0.5, "b": 0.5}},
        **files,
    )

    def looked_at(*labels):
        keys = pa.array(range(len(labels)), pa.uint64())
        table = pa.table({"key": keys, "label": list(labels), "prediction": ['["a", "b"]'] * len(labels)})
        return measured(table, release, ["f1_micro"])

    same = looked_at(*['["a", "b"]', "[]", '["a"]', '["b"]'] * 10)
    assert (same["unknown_labels"], same["drift"].labels, same["drift"].predictions) == (0, 0.0, 0.0)
    other = looked_at(*['["a", "mauve"]', '["a"]', "[]", '["a"]'] * 10)
    assert other["unknown_labels"] == 10
    assert other["drift"].labels > other["drift"].by_chance
    assert looked_at(*["[]"] * 30)["drift"] is None


def test_report_and_card_tell_of_each_label_by_itself(tmp_path):
    given = report_input(tmp_path, labels=('["a", "b"]', "[]", '["b"]'))
    changes = {"kind": "multi-label-classification", "label_names": ("a", "b")}
    data = replace(given, release=given.release.model_copy(update=changes))
    told = {item.type: (item.there, item.champion_f1 is not None) for item in label_types(data.paired)}
    assert told == {"b": (40, True), "a": (20, True)}
    page = Page(render_report(data)).text
    assert "Labels, each by itself" in page
    assert "A label is right where the row has it too." in page
    assert "Confusion" not in page
    card = render_card(data)
    assert 'pipeline_tag: "text-classification"' in card
    assert '"text-classification", model="DIR", top_k=None' in card
    assert "each label whose probability reaches `threshold`" in card
    assert "It chooses one of its labels" not in card
    assert "Weakest labels on `test`: a (" in card or "Weakest labels on `test`: b (" in card
    plain = render_card(given)
    assert "top_k" not in plain
    assert "It chooses one of its labels" in plain
