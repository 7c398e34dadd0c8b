"""Kinds that read pictures and sounds: what they learn, how they resume, and what they answer to whom."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fitting import accuracy, train
from media import image_base, media_job, pictures, sounds, write_set

from contender.errors import DataError, ModelError, UsageError
from contender.files import describe_files
from contender.kinds import kind
from contender.models import BUILT_IN
from contender.records import ReleaseManifest
from contender.training.monitor import Stopped

TASK = "image-classification"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return image_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return tuple(
        write_set(folder / f"{name}.arrow", "image", pictures(count, seed))
        for name, count, seed in (("train", 44, 1), ("validation", 16, 2))
    )


@pytest.fixture
def job(base, sets, tmp_path):
    return lambda output="model", **options: media_job(TASK, base, *sets, tmp_path / output, **options)


def manifest(labels: tuple[str, ...] = ("left", "right")) -> ReleaseManifest:
    return ReleaseManifest.model_construct(
        release="r-1", kind=TASK, columns={"image": "photo", "label": "label"}, label_names=labels
    )


@pytest.mark.slow
def test_pictures_that_change_each_time_resume_to_the_same_files(job, tmp_path):
    """The network has batch normalisation, whose statistics a checkpoint must keep and a measured step must not touch."""
    whole, stopped = job("whole", augment="light"), job("stopped", augment="light", precision="auto")
    whole = whole.model_copy(update={"options": stopped.options})
    report = train(whole, tmp_path / "job1")
    assert report.best_metric > 0.9
    with pytest.raises(Stopped):
        train(stopped, tmp_path / "job2", 8)
    assert train(stopped, tmp_path / "job2").resumed_from_step == 8
    assert describe_files(Path(whole.output)) == describe_files(Path(stopped.output))
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} == {
        f.path for f in describe_files(Path(whole.output))
    }


@pytest.mark.slow
def test_a_release_answers_files_bytes_and_rows_alike(job, tmp_path):
    one = job(method="head", epochs=20, early_stopping=0)
    assert train(one, tmp_path / "job").best_metric == accuracy(one) > 0.9
    model = kind(TASK).load(Path(one.output), manifest())
    data, side = pictures(1, 7)[0]
    (tmp_path / "a.png").write_bytes(data)
    given = [data, str(tmp_path / "a.png"), tmp_path / "a.png", {"photo": data, "other": 1}]
    answers = model.predict(given, batch_size=3)
    assert {answer.label for answer in answers} == {side}
    assert np.allclose([answer.score for answer in answers], answers[0].score, atol=1e-6)
    model.warm_up()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (b"", "the file is empty"),
        (b"no picture", "no picture of a kind"),
        ("nowhere.png", "cannot read nowhere.png"),
        ({"image": b"x"}, "is no image: it is of type NoneType"),
        (f"sha256:{'0' * 64}", "is no image"),
        (7, "is no image: it is of type int"),
    ],
)
def test_what_is_no_picture_is_the_callers_mistake(base, given, reason):
    labels = tuple(f"LABEL_{n}" for n in range(3))
    with pytest.raises(UsageError, match=reason):
        kind(TASK).load(base, manifest(labels)).predict([given])


def test_a_base_for_texts_and_one_without_a_processor_are_refused(tmp_path, base):
    (tmp_path / "config.json").write_text((base / "config.json").read_text())
    with pytest.raises(ModelError, match="the processor in"):
        kind(TASK).load_processor(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="cannot be loaded for image-classification"):
        kind(TASK).load_model(tmp_path, ("a", "b"))


def test_rows_without_their_media_are_refused(job, sets, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "train.arrow").write_bytes(sets[0].read_bytes())
    with pytest.raises(DataError, match=r"the media of train\.arrow are gone"):
        kind(TASK).predict(Path(job().base), alone / "train.arrow")


def test_augmented_pictures_are_others_each_time_and_about_the_same():
    import torch

    from contender.training.augment import changed_pictures

    torch.manual_seed(0)
    plain = torch.zeros(50, 3, 32, 32)
    plain[:, :, 8:24, 8:24] = 1
    first, second = changed_pictures(plain), changed_pictures(plain)
    assert not torch.equal(first, second)
    assert first.shape == plain.shape
    assert (first - plain).abs().mean() < 0.25
    assert float((first - plain).mean().abs()) < 0.05


# --- sounds

AUDIO = "audio-classification"
CHANGES = {"sampling_rate": 8_000, "channels": [4, 8], "mel_bins": 16}


@pytest.fixture
def audio_job(tmp_path):
    sets = [
        write_set(tmp_path / f"{name}.arrow", "audio", sounds(count, seed))
        for name, count, seed in (("train", 44, 1), ("validation", 16, 2))
    ]
    scratch = {"init": "scratch", "config": CHANGES}

    def make(output: str = "model", **options: object):
        base = BUILT_IN / "audio-convnet"
        return media_job(AUDIO, base, *sets, tmp_path / output, **options).model_copy(update=scratch)

    return make


@pytest.mark.slow
def test_sounds_teach_a_network_from_nothing_and_resume_to_the_same_files(audio_job, tmp_path):
    whole, stopped = audio_job("whole", augment="light", epochs=3), audio_job("stopped", augment="light", epochs=3)
    report = train(whole, tmp_path / "job1")
    assert report.best_metric == accuracy(whole) > 0.9
    with pytest.raises(Stopped):
        train(stopped, tmp_path / "job2", 8)
    assert train(stopped, tmp_path / "job2").resumed_from_step == 8
    assert describe_files(Path(whole.output)) == describe_files(Path(stopped.output))
    config, processor = (
        json.loads((Path(whole.output) / name).read_bytes()) for name in ("config.json", "preprocessor_config.json")
    )
    assert config["channels"] == [4, 8]
    assert processor["sampling_rate"] == config["sampling_rate"] == 8_000


def test_a_sound_is_answered_alike_by_itself_and_beside_a_longer_one(tmp_path):
    import torch

    torch.manual_seed(0)
    one = kind(AUDIO)
    model = one.new_model(BUILT_IN / "audio-convnet", ("left", "right"), {})
    processor = one.load_processor(BUILT_IN / "audio-convnet")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(str(tmp_path))
    released = ReleaseManifest.model_construct(release="r-1", kind=AUDIO, columns={}, label_names=("left", "right"))
    loaded = one.load(tmp_path, released)
    files = [data for data, _ in sounds(6)]
    together = [answer.scores["left"] for answer in loaded.predict(files)]
    alone = [answer.scores["left"] for answer in loaded.predict(files, batch_size=1)]
    assert np.allclose(together, alone, atol=1e-5)
    assert len({round(score, 4) for score in together}) > 1
    loaded.warm_up()
    with pytest.raises(UsageError, match="no sound that is read"):
        loaded.predict([b"text"])


def test_a_length_in_tokens_and_a_processor_of_another_medium_are_refused(audio_job, base):
    with pytest.raises(UsageError, match="counts tokens"):
        kind(AUDIO).length(128, None, None, None)
    with pytest.raises(ModelError, match="the processor in"):
        kind(AUDIO).load_processor(base)


def test_a_small_network_for_pictures_starts_from_nothing():
    model = kind(TASK).new_model(BUILT_IN / "image-convnet", ("a", "b", "c"), {"embedding_size": 16})
    pixels = kind(TASK).load_processor(BUILT_IN / "image-convnet")
    assert model(**pixels.batch([pixels.decode(pictures(1)[0][0])])).logits.shape == (1, 3)
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    with pytest.raises(ModelError, match="unknown key 'embeding_size'"):
        kind(TASK).new_model(BUILT_IN / "image-convnet", ("a", "b"), {"embeding_size": 16})
