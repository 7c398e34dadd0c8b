"""Sources of pictures and sounds: folders, archives, tables of paths; what each file gives, and where its bytes are found again."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contender.data.counting import count_rows, gives_no_rows
from contender.data.media import MediaFiles, refer, with_bytes
from contender.data.places import locate
from contender.data.source import ReadOptions, ingest, open_rows, peek
from contender.errors import Damaged, DataError, UsageError
from contender.store import open_store

OPTIONS = ReadOptions(media="image", media_column="image")


def picture(number: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(out, "PNG")
    return out.getvalue()


def fill(folder: Path, **files: bytes) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read(source: str, base: Path, options: ReadOptions = OPTIONS) -> list[dict]:
    out = base / ".out"
    out.mkdir(exist_ok=True)
    peeked = peek(source, options, base=base)
    files = ingest(source, peeked, options, out / "source.arrow", base=base, required=("image", "label"))
    assert files.digest == peeked.digest
    return list(open_rows(out / "source.arrow"))


def media(base: Path) -> MediaFiles:
    return MediaFiles.beside(base / ".out" / "source.arrow")


def archived(kind: str, files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w:gz" if kind != "tar" else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_a_folder_labels_each_picture_by_the_folder_that_it_lies_in(tmp_path):
    fill(
        tmp_path,
        **{"d/cat/1.png": picture(1), "d/dog/2.PNG": picture(2), "d/dog/notes.txt": b"x", "d/top.png": picture(3)},
    )
    rows = read("d", tmp_path)
    assert [(row["path"], row["label"], row["_file"]) for row in rows] == [
        ("cat/1.png", "cat", "cat/1.png"),
        ("dog/2.PNG", "dog", "dog/2.PNG"),
        ("top.png", None, "top.png"),
    ]
    assert [media(tmp_path).read(row["image"]) for row in rows] == [picture(1), picture(2), picture(3)]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tgz"])
def test_an_archive_gives_what_its_folder_would(tmp_path, kind):
    files = {
        "all/cat/1.png": picture(1),
        "all/dog/2.png": picture(2),
        "__MACOSX/dog/._2.png": b"x",
        "all/.hid.png": b"x",
    }
    fill(tmp_path, **{f"d/photos.{kind}": archived(kind, files)})
    for source in ("d", f"d/photos.{kind}"):
        rows = read(source, tmp_path)
        assert [(row["path"], row["label"]) for row in rows] == [
            (f"photos.{kind}!all/cat/1.png", "cat"),
            (f"photos.{kind}!all/dog/2.png", "dog"),
        ]
        assert media(tmp_path).read(rows[1]["image"]) == picture(2)


def test_a_table_names_files_and_members_and_gives_all_rows(tmp_path):
    table = "image,label,by\na/1.png,x,ann\n./b/../a/1.png,y,bob\nmore.zip!in/3.png,z,eve\n"
    fill(
        tmp_path,
        **{
            "d/t.csv": table.encode(),
            "d/a/1.png": picture(1),
            "d/a/unnamed.png": picture(9),
            "d/more.zip": archived("zip", {"in/3.png": picture(3)}),
            "d/other.csv": b"image,label,by\n",
        },
    )
    rows = read("d/t.csv", tmp_path)
    assert [(row["label"], row["by"], row["path"]) for row in rows] == [
        ("x", "ann", "a/1.png"),
        ("y", "bob", "./b/../a/1.png"),
        ("z", "eve", "more.zip!in/3.png"),
    ]
    assert rows[0]["image"] == rows[1]["image"] != rows[2]["image"]
    assert media(tmp_path).read(rows[2]["image"]) == picture(3)


def test_a_row_whose_file_cannot_be_used_says_why(tmp_path):
    named = ["a.png", "broken.png", "gone.png", "../out.png", "/etc/passwd", "s3://b/x.png", ""]
    table = "label,image\n" + "".join(f"x,{name}\n" for name in named)
    fill(
        tmp_path,
        **{"d/t.csv": table.encode(), "d/a.png": picture(1), "d/broken.png": picture(1)[:46], "out.png": picture(2)},
    )
    rows = read("d", tmp_path)
    assert [row["image"] is None for row in rows] == [False, *[True] * 6]
    faults = [row["_fault"] for row in rows]
    assert faults[0] is None
    for fault, words in zip(
        faults[1:],
        ["damaged or shortened", "no such file", "leads out", "leads out", "leads out", "names no image"],
        strict=True,
    ):
        assert words in fault


def test_pictures_that_cannot_be_used_are_rows_with_a_reason(tmp_path):
    zipped = archived("zip", {"cat/1.png": b"no picture", "../cat/2.png": picture(2), "cat/3.png": picture(3)})
    fill(tmp_path, **{"d/cat/short.jpg": b"\xff\xd8\xff\xe0", "d/z.zip": zipped})
    rows = read("d", tmp_path)
    assert [row["image"] is not None for row in rows] == [False, False, False, True]
    assert [(row["_fault"] or "").split(":")[0] for row in rows][1:] == ["cat/1.png", "../cat/2.png", ""]


def test_one_picture_under_two_names_is_one_value_kept_once(tmp_path):
    fill(tmp_path, **{"d/cat/1.png": picture(1), "d/cat/2.png": picture(1)})
    first, second = read("d", tmp_path)
    assert first["image"] == second["image"]
    assert (tmp_path / ".out" / "source.media").stat().st_size == len(picture(1))


def test_changed_bytes_are_another_snapshot_and_damaged_ones_no_answer(tmp_path):
    fill(tmp_path, **{"d/cat/1.png": picture(1)})
    before = peek("d", OPTIONS, base=tmp_path)
    (row,) = read("d", tmp_path)
    fill(tmp_path, **{"d/cat/1.png": picture(2)})
    assert peek("d", OPTIONS, base=tmp_path).digest != before.digest
    assert media(tmp_path).read(row["image"]) == picture(1)
    pack = tmp_path / ".out" / "source.media"
    pack.write_bytes(pack.read_bytes()[:-1] + b"x")
    with pytest.raises(Damaged, match="others by now"):
        media(tmp_path).read(row["image"])
    with pytest.raises(DataError, match="no snapshot holds"):
        media(tmp_path).read(f"sha256:{'0' * 64}")
    with pytest.raises(DataError, match="names no picture"):
        media(tmp_path).read("cat/1.png")


def test_a_split_finds_the_media_of_its_snapshot(tmp_path):
    fill(tmp_path, **{"d/cat/1.png": picture(1), "d/cat/2.png": picture(2)})
    rows = read("d", tmp_path)
    snapshot, split = tmp_path / "stages" / "snapshot" / "k1", tmp_path / "stages" / "split" / "k2"
    split.mkdir(parents=True)
    snapshot.parent.mkdir()
    (tmp_path / ".out").rename(snapshot)
    refer(split, snapshot, ["source"])
    assert MediaFiles.beside(split / "train.arrow").read(rows[1]["image"]) == picture(2)
    assert with_bytes([{"image": rows[0]["image"], "n": "x"}], split / "test.arrow") == [
        {"image": picture(1), "n": "x"}
    ]
    (snapshot / "source.media").unlink()
    with pytest.raises(DataError, match=r"the media of train\.arrow are gone"):
        MediaFiles.beside(split / "train.arrow")


def test_a_source_of_texts_does_not_read_pictures(tmp_path):
    fill(tmp_path, **{"d/t.csv": b"image,label\na.png,x\n", "d/a.png": picture(1), "d/b.zip": b"x"})
    (row,) = read("d", tmp_path, ReadOptions())
    assert row["image"] == "a.png"
    with pytest.raises(UsageError, match="in no format that is read"):
        peek("d/a.png", ReadOptions(), base=tmp_path)


def test_a_bucket_gives_what_a_folder_does(tmp_path, monkeypatch):
    store = open_store("memory://media")
    monkeypatch.setattr("contender.store.open_store", lambda url, profile=None: store)
    for key, data in {"p/t.csv": b"image,label\na/1.png,x\n", "p/a/1.png": picture(1), "p/u.csv": b"no"}.items():
        store.put(key, data)
    (row,) = read("s3://bucket/p/t.csv", tmp_path)
    assert media(tmp_path).read(row["image"]) == picture(1)
    store.delete("p/t.csv")
    with pytest.raises(UsageError, match="does not exist"):
        peek("s3://bucket/p/t.csv", OPTIONS, base=tmp_path)


def test_new_pictures_are_counted_as_rows_unless_a_table_names_them(tmp_path):
    zipped = archived("tgz", {"cat/1.png": picture(1), "cat/2.png": picture(2), "README": b"x"})
    fill(tmp_path, **{"d/cat/1.png": picture(1), "d/z.tgz": zipped})
    place = locate("d", tmp_path, media="image")
    listed = {found.path: found for found in place.list()[0]}
    files = {file.path: file for file in peek("d", OPTIONS, base=tmp_path).files}
    counts = {name: count_rows(place, listed[name], files[name], OPTIONS, tmp_path, 10)[0] for name in files}
    assert counts == {"cat/1.png": 1, "z.tgz": 2}
    assert not gives_no_rows("cat/1.png", listed, "image")
    assert gives_no_rows("cat/1.png", [*listed, "t.csv"], "image")
    assert not gives_no_rows("t.csv", [*listed, "t.csv"], "image")


def test_memory_does_not_grow_with_the_pictures(tmp_path):
    import tracemalloc

    rng = np.random.default_rng(0)
    files = {}
    for number in range(40):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)).save(out, "BMP")
        files[f"cat/{number}.bmp"] = out.getvalue()
    fill(tmp_path, **{"d/a.tar": archived("tar", files)})
    tracemalloc.start()
    assert len(read("d", tmp_path)) == 40
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < sum(map(len, files.values())) / 2
