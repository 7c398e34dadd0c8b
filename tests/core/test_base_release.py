from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from desk import PIPELINE, tickets, write_tickets

from contender.data.normalise import NORMALISER, hashes, seed_of
from contender.data.rowfile import read_batches
from contender.data.trainkeys import TrainKeys, write_keys
from contender.errors import ModelError, UsageError
from contender.loading import load_pipeline
from contender.models import ResolvedBase
from contender.places import is_local_base
from contender.records import ReleaseDraft, ReleaseManifest, SplitDefinition, TrainReport
from contender.registry import TRAIN_KEYS, Registry
from contender.run import Run, open_run
from contender.shareable import shareable
from contender.stages.adapter import adapter_files
from contender.stages.base import find_base, find_student, inherited_keys, stage_of_base
from contender.stages.data import check_quality, look, split_rows, take_snapshot
from contender.stages.judge import train_keys
from contender.stages.model import stage_key, stage_release
from contender.store import open_store
from contender.workspace import Staged

DEFINITION = SplitDefinition(key="body", test=0.2, validation=0.1, salt="general", normaliser=NORMALISER)


def release_of(
    folder: Path, model: Path, pipeline: str, seed: int, definition: SplitDefinition | None
) -> ReleaseManifest:
    """A live release of another pipeline, with the bytes of `model` and a file that tells it from others."""
    registry = Registry(open_store(str(folder / "registry")), pipeline)
    staged = folder / f"model-{pipeline}-{seed}"
    shutil.copytree(model, staged)
    (staged / "seed.json").write_text(json.dumps(seed))
    beside = {}
    if definition is not None:
        registry.freeze_split(definition)
        keys = np.sort(np.array(hashes(["old"], seed_of(definition.salt, "key")), np.uint64))
        write_keys(folder / "keys", TrainKeys(keys))
        beside = {TRAIN_KEYS: folder / "keys"}
    draft = ReleaseDraft(
        kind="text-classification", columns={"text": "body", "label": "intent"}, label_names=("a", "b")
    )
    manifest = registry.stage(staged, draft, beside)
    live = registry.champion("production")
    registry.promote("production", live.n if live else 0, manifest, reason="tests", actor="tests")
    return manifest


def run_on(folder: Path, base: str, more: str = "") -> Run:
    text = PIPELINE.format(base=base) + f"promote: {{to: registry}}\n{more}"
    (folder / "desk.yaml").write_text(text)
    return open_run(load_pipeline(folder / "desk.yaml"), "tests")


def key_of(run: Run, base: ResolvedBase) -> str:
    return stage_key(run.pipeline, "train", base=base.digest)


def test_a_release_is_a_base_by_its_digest_and_follows_its_alias(tmp_path: Path, tiny_base: Path) -> None:
    first = release_of(tmp_path, tiny_base, "general", 1, DEFINITION)
    run = run_on(tmp_path, "contender:general")
    found = find_base(run)
    assert (found.digest, found.revision) == (first.digest, first.release)
    assert (Path(found.path) / "model.safetensors").read_bytes() == (tiny_base / "model.safetensors").read_bytes()
    assert find_base(run) == found
    assert stage_of_base(run, found) == [("base", Path(found.path).parent.name)]

    second = release_of(tmp_path, tiny_base, "general", 2, DEFINITION)
    moved = find_base(run)
    assert (moved.digest, moved.revision) == (second.digest, second.release)
    assert key_of(run, moved) != key_of(run, found)
    pinned = run_on(tmp_path, f"contender:general@{first.release}")
    assert find_base(pinned).digest == first.digest


@pytest.mark.parametrize("base", ["contender:registry/general@production", "contender:{folder}/registry/general"])
def test_its_registry_may_be_named_and_a_folder_is_relative_to_the_spec(tmp_path: Path, tiny_base: Path, base) -> None:
    manifest = release_of(tmp_path, tiny_base, "general", 1, DEFINITION)
    assert find_base(run_on(tmp_path, base.format(folder=tmp_path))).digest == manifest.digest


def test_what_it_trained_on_comes_along_under_the_name_that_others_know(tmp_path: Path, tiny_base: Path) -> None:
    release_of(tmp_path, tiny_base, "general", 1, DEFINITION)
    (inherited,) = inherited_keys(find_base(run_on(tmp_path, "contender:general")))
    assert (inherited.definition.key, inherited.definition.salt) == ("text", "general")
    assert inherited.keys.tolist() == hashes(["old"], seed_of("general", "key"))


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        (None, "it does not say what it trained on"),
        (DEFINITION.model_copy(update={"key": "customer"}), "it was split by customer, which is no column"),
    ],
)
def test_rows_that_cannot_be_told_are_warned_of(tmp_path: Path, tiny_base: Path, definition, said: str) -> None:
    from contender.progress import Note, listening

    told: list[Note] = []
    release_of(tmp_path, tiny_base, "general", 1, definition)
    with listening(told.append):
        find_base(run_on(tmp_path, "contender:general"))
    assert [said in note.text for note in told] == [True]


def test_a_release_that_is_nowhere_is_refused_with_what_was_tried(tmp_path: Path, tiny_base: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.base: no registry found for 'general'; tried: promote\.to: nothing"):
        find_base(run_on(tmp_path, "contender:general"))
    release_of(tmp_path, tiny_base, "general", 1, DEFINITION)
    with pytest.raises(UsageError, match="general@canary names no release yet"):
        find_base(run_on(tmp_path, "contender:general@canary"))


def test_an_unknown_key_of_a_new_model_is_refused_before_a_row_is_read(tmp_path: Path, tiny_base: Path) -> None:
    changed = PIPELINE.replace("  base: {base}", "  base: {base}\n  init: scratch\n  config: {{hiden_size: 16}}")
    (tmp_path / "desk.yaml").write_text(changed.format(base=tiny_base))
    with pytest.raises(ModelError, match="did you mean 'hidden_size'"):
        find_base(open_run(load_pipeline(tmp_path / "desk.yaml"), "tests"))


def test_what_a_model_is_distilled_into_is_looked_for_as_early_and_should_be_smaller(
    tmp_path: Path, tiny_base: Path
) -> None:
    from contender.progress import Note, listening

    def distilling_to(place: str) -> Run:
        (tmp_path / "desk.yaml").write_text(
            PIPELINE.format(base=tiny_base) + f"compress: {{distill: {{to: {place}}}}}\n"
        )
        return open_run(load_pipeline(tmp_path / "desk.yaml"), "tests")

    told: list[Note] = []
    run = distilling_to(str(tiny_base))
    with listening(told.append):
        assert find_student(run, find_base(run)) == find_base(run).model_copy(update={"name": str(tiny_base)})
    assert [(note.stage, "will hardly be faster" in note.text) for note in told] == [("compress", True)]

    shutil.copytree(tiny_base, tmp_path / "other")
    config = {"model_type": "vit"}
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    run = distilling_to("other")
    with pytest.raises(
        ModelError, match=r"compress\.distill\.to: .* is a vit, which has no form for text-classification"
    ):
        find_student(run, find_base(run))
    run = distilling_to("contender:general")
    with pytest.raises(UsageError, match=r"compress\.distill\.to: no registry found"):
        find_student(run, find_base(run))


def test_no_folder_of_the_machine_is_told_and_a_worker_elsewhere_finds_what_is_in_a_bucket(tmp_path: Path) -> None:
    assert shareable("contender:/srv/models/general@production") == "contender:general@production"
    assert shareable("contender:s3://bucket/models/general") == "contender:s3://bucket/models/general"
    assert is_local_base("contender:registry/general", tmp_path)
    assert not is_local_base("contender:s3://bucket/models/general@production", tmp_path)
    assert not is_local_base("contender:general", tmp_path)


def rows_in(split: Any, name: str) -> list[dict[str, Any]]:
    return [row for batch in read_batches(split.folder / f"{name}.arrow") for row in batch.to_pylist()]


def texts_of(split: Any, name: str) -> set[str]:
    return {row["text"] for row in rows_in(split, name)}


def released(folder: Path, name: str, base: str, rows: list[tuple[str, str]], model: Path) -> tuple[Run, Any, Any]:
    """A pipeline's run as far as its release, through the real stages but for the training, which came to `model`."""
    (folder / f"{name}-tickets").mkdir()
    write_tickets(folder / f"{name}-tickets/1.csv", rows)
    text = PIPELINE.format(base=base).replace("name: desk", f"name: {name}").replace("tickets/", f"{name}-tickets/")
    (folder / f"{name}.yaml").write_text(text + "promote: {to: registry}\n")
    run = open_run(load_pipeline(folder / f"{name}.yaml"), "tests")
    found = find_base(run)
    snapshot = take_snapshot(run, look(run))
    quality = check_quality(run, snapshot, None)
    split = split_rows(run, snapshot, quality)
    figures: dict[str, Any] = {"steps": 1, "epochs": 1, "examples": 1, "seconds": 1, "examples_per_second": 1}
    figures |= {"learning_rate": 1, "batch_size": 1, "precision": "fp32", "precision_reason": "", "device": "cpu"}
    done = Staged("train", f"train-of-{name}", TrainReport(**figures), model, cached=False, seconds=0.0)
    return run, stage_release(run, found, done, split, snapshot, quality, None), split


def model_of(folder: Path, base: Path, name: str) -> Path:
    shutil.copytree(base, folder / f"trained-{name}" / "model")
    (folder / f"trained-{name}/model/name.json").write_text(json.dumps(name))
    return folder / f"trained-{name}"


def test_no_release_is_judged_on_what_its_ancestors_were_trained_on(tmp_path: Path, tiny_base: Path, gate_here) -> None:
    """Three generations of three pipelines: the third one's held-out rows are partly the first one's and the second one's."""
    rows = tickets(120, seed=1)
    runs, seen, base = [], set(), str(tiny_base)
    for name, given in (("first", rows[:60]), ("second", rows[60:]), ("third", rows)):
        run, release, split = released(tmp_path, name, base, given, model_of(tmp_path, tiny_base, name))
        run.registry.promote("production", 0, release, reason="tests", actor="tests")
        if name != "third":
            seen |= texts_of(split, "train") | texts_of(split, "validation")
        runs.append((run, release, split))
        base = f"contender:{name}"
    run, release, split = runs[-1]
    assert release.lineage["base_revision"] == runs[1][1].release
    own = set(train_keys(run.registry, release).tolist())
    told = {row["text"]: row["_key"] in own for row in rows_in(split, "test")}
    assert told == {text: text in seen for text in told}
    assert 0 < sum(told.values()) < len(told)

    # Rows that are held out later are known by the ancestors' hashes; here those that the first pipeline trained on.
    first = runs[0][2].folder / "train.arrow"
    theirs = {row["_key"] for row in rows_in(runs[0][2], "train")}
    assert not theirs & own
    assert set(train_keys(run.registry, release, [first]).tolist()) == theirs | own


def test_an_adapter_lies_beside_the_release_that_it_was_merged_into(tmp_path: Path, tiny_base: Path, gate_here) -> None:
    model = model_of(tmp_path, tiny_base, "lora")
    (model / "model-adapter").mkdir()
    (model / "model-adapter/adapter_model.safetensors").write_bytes(b"weights")
    (model / "model-adapter/adapter_config.json").write_text('{"base_model_name_or_path": null, "r": 16}')
    run, release, _ = released(tmp_path, "desk", str(tiny_base), tickets(60, seed=1), model)
    beside = {file.path for file in release.beside}
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"} < beside
    assert run.registry.beside(release.release, "adapter/adapter_model.safetensors") == b"weights"
    assert run.registry.verify(release.release) == release
    hub = ResolvedBase(name="org/name", path="/", digest="d", revision="c" * 40)
    config = json.loads(adapter_files(model, hub, tmp_path)["adapter/adapter_config.json"].read_bytes())
    assert config == {"base_model_name_or_path": "org/name", "r": 16, "revision": "c" * 40}
