"""Archives that nobody means well with: each ends in one clear refusal, or in one member set apart."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from contender.data import archives
from contender.data.archives import Member, tar_members, zip_members
from contender.errors import DataError

DATA = bytes(range(256)) * 8


def everything(name: str) -> bool:
    return True


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


def tarred(*entries: tuple[str | tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for entry, data in entries:
            info = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def unzip(folder: Path, content: bytes) -> list[Member]:
    (folder / "a.zip").write_bytes(content)
    return list(zip_members(folder / "a.zip", "a.zip", everything))


def untar(content: bytes, packed: int | None = None) -> list[Member]:
    return list(tar_members(io.BytesIO(content), "a.tar", everything, lambda: packed or len(content)))


def faults(members: list[Member]) -> list[str | None]:
    return [member.fault for member in members]


def test_members_are_read_in_order_and_folders_passed_over(tmp_path):
    expected = [Member("0/a.jpg", 2, DATA), Member("1/b.jpg", 3, b"x")]
    assert unzip(tmp_path, zipped(("0/", b""), ("0/a.jpg", DATA), ("1/b.jpg", b"x"))) == expected
    folder = tarfile.TarInfo("0")
    folder.type = tarfile.DIRTYPE
    assert untar(tarred((folder, b""), ("0/a.jpg", DATA), ("1/b.jpg", b"x"))) == expected


def test_what_nobody_wants_is_neither_read_nor_named(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(("README", b"x"), ("0/a.jpg", DATA)))
    assert [m.name for m in zip_members(tmp_path / "a.zip", "a.zip", lambda name: name.endswith("jpg"))] == ["0/a.jpg"]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../../etc/cron.d/x.jpg", "leads out"),
        ("0/../../x.jpg", "leads out"),
        ("/etc/passwd", "absolute"),
        ("C:\\x.jpg", "absolute"),
        ("..\\x.jpg", "leads out"),
    ],
)
def test_a_name_that_leads_elsewhere_is_set_apart(tmp_path, name, fault):
    (member,) = unzip(tmp_path, zipped((name, DATA)))
    assert fault in member.fault and not member.data
    if "\\" not in name:
        (member,) = untar(tarred((name, DATA)))
        assert fault in member.fault and not member.data


def test_a_name_twice_is_read_once(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zipped(("0/a.jpg", DATA), ("0/a.jpg", b"other"))
    for members in (unzip(tmp_path, content), untar(tarred(("0/a.jpg", DATA), ("0/a.jpg", b"other")))):
        assert faults(members) == [None, "the archive holds this name twice"]
        assert members[0].data == DATA


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "no regular file"),
        (tarfile.BLKTYPE, "no regular file"),
        (tarfile.FIFOTYPE, "no regular file"),
    ],
)
def test_links_and_devices_are_set_apart(tmp_path, kind, fault):
    info = tarfile.TarInfo("0/a.jpg")
    info.type, info.linkname = kind, "/etc/passwd"
    (member,) = untar(tarred((info, b"")))
    assert fault in member.fault


@pytest.mark.parametrize(
    ("kind", "fault"), [(stat.S_IFLNK, "a link"), (stat.S_IFIFO, "no regular"), (stat.S_IFCHR, "no regular")]
)
def test_links_and_devices_in_a_zip_are_set_apart(tmp_path, kind, fault):
    info = zipfile.ZipInfo("0/a.jpg")
    info.external_attr = (kind | 0o777) << 16
    (member,) = unzip(tmp_path, zipped((info, b"/etc/passwd")))
    assert fault in member.fault and not member.data


def test_an_encrypted_member_is_set_apart(tmp_path):
    content = bytearray(zipped(("0/a.jpg", DATA)))
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + flags] |= 1
    assert faults(unzip(tmp_path, bytes(content))) == ["encrypted in the archive"]


def test_a_member_that_fails_its_checksum_is_set_apart_and_the_next_is_read(tmp_path):
    content = bytearray(zipped(("0/a.jpg", DATA), ("0/b.jpg", b"fine"), method=zipfile.ZIP_STORED))
    content[content.index(DATA) + 5] ^= 1
    damaged, fine = unzip(tmp_path, bytes(content))
    assert "damaged in the archive" in damaged.fault
    assert fine.data == b"fine"


def test_members_that_share_their_bytes_are_no_way_to_a_bomb(tmp_path):
    content = bytearray(zipped(("0/a.jpg", DATA), ("0/b.jpg", DATA)))
    second = content.rindex(b"PK\1\2")
    content[second + 42 : second + 46] = struct.pack("<I", 0)  # its local header is the first one's
    first, second_member = unzip(tmp_path, bytes(content))
    assert second_member.fault or first.fault


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "BOMB_BYTES", 1 << 20)
    with pytest.raises(DataError, match="unpacks to 2,097,152 bytes"):
        unzip(tmp_path, zipped(("0/a.bmp", bytes(1 << 21))))


def test_a_directory_that_lies_about_sizes_gains_nothing(tmp_path):
    content = bytearray(zipped(("0/a.bmp", bytes(1 << 20))))
    place = content.index(b"PK\1\2")
    content[place + 24 : place + 28] = struct.pack("<I", 100)
    (member,) = unzip(tmp_path, bytes(content))
    assert "damaged" in member.fault


def test_a_tar_bomb_is_refused_while_it_unpacks(monkeypatch):
    monkeypatch.setattr(archives, "BOMB_BYTES", 1 << 20)
    content = tarred(("0/a.bmp", bytes(1 << 22)))
    packed = gzip.compress(content)
    read = 0

    class Stream(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            nonlocal read
            read += size
            return super().read(size)

    with pytest.raises(DataError, match="times its size"):
        list(tar_members(Stream(content), "a.tar.gz", everything, lambda: len(packed)))
    assert read < 1 << 21


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MEMBERS", 2)
    entries = [(f"0/{n}.jpg", b"x") for n in range(3)]
    with pytest.raises(DataError, match="more than 2 files"):
        unzip(tmp_path, zipped(*entries))
    with pytest.raises(DataError, match="more than 2 files"):
        untar(tarred(*entries))


def test_a_member_too_large_for_memory_is_set_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MEMBER_BYTES", 100)
    for members in (
        unzip(tmp_path, zipped(("0/a.jpg", DATA), ("0/b.jpg", b"x"))),
        untar(tarred(("a", DATA), ("b", b"x"))),
    ):
        assert "at most 100 are read" in members[0].fault and not members[0].data
        assert members[1].data == b"x"


@pytest.mark.parametrize("cut", [100, 512, 700, 1536 + 512, 2560])
def test_a_shortened_tar_is_refused_wherever_it_ends(cut):
    content = tarred(("0/a.jpg", DATA[:1000]), ("0/b.jpg", DATA[:1000]))
    with pytest.raises(DataError, match="cannot be read as a tar archive"):
        untar(content[:cut])


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end():
    content = bytearray(tarred(("0/a.jpg", DATA[:500]), ("0/b.jpg", DATA[:500])))
    content[1024 + 150] ^= 0xFF
    with pytest.raises(DataError, match="cannot be read as a tar archive"):
        untar(bytes(content))


def test_an_extended_header_as_large_as_memory_is_refused():
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 8 << 30
    with pytest.raises(DataError, match="a header of 8,589,934,592 bytes"):
        untar(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive at all" * 100, zipped(("a", DATA))[:-10]])
def test_what_is_no_archive_is_refused(tmp_path, content):
    with pytest.raises(DataError, match="cannot be read as a zip archive"):
        unzip(tmp_path, content)
    with pytest.raises(DataError, match="cannot be read as a tar archive"):
        untar(content)
