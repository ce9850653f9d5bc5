import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.data.prepare.archives import ArchiveLimits, is_archive, read_archive
from keomni_rl.errors import DataError


def add(archive: tarfile.TarFile, name: str, content: bytes = b"abc", **more) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in more.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(content))


def write(path, *names, mode="w:gz", **more):
    with tarfile.open(path, mode) as archive:
        for name in names:
            add(archive, name, **more)
    return path


def read(path, **limits):
    return list(read_archive(path, lambda name: name.suffix == ".wav", ArchiveLimits(**limits)))


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2"])
def test_wanted_members_come_in_order_and_others_are_passed_over(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    with tarfile.open(path, "w:" + suffix.partition(".")[2]) as archive:
        add(archive, "audios", b"", type=tarfile.DIRTYPE)
        add(archive, "audios/b.wav", b"second letter")
        add(archive, "audios/readme.txt")
        add(archive, "./audios/a.wav", b"")
    assert is_archive(path)
    assert [(str(n), content) for n, content in read(path)] == [
        ("audios/b.wav", b"second letter"),
        ("audios/a.wav", b""),
    ]


@pytest.mark.parametrize("name", ["/etc/a.wav", "../a.wav", "audios/../../a.txt"])
def test_a_member_outside_the_folder_is_refused_even_if_it_is_not_wanted(tmp_path, name):
    with pytest.raises(DataError, match=r"member .* points out of the archive's folder"):
        read(write(tmp_path / "x.tar.gz", name))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(tmp_path, kind):
    path = write(tmp_path / "x.tar.gz", "a.wav", content=b"", type=kind, linkname="b.wav")
    with pytest.raises(DataError, match=r"'a.wav' is a link or a device"):
        read(path)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_members": 2}, "more than 2 members"),
        ({"max_member_bytes": 2}, "member 'a.txt' has 3 bytes"),
        ({"max_total_bytes": 8}, "more than 8 bytes"),
    ],
)
def test_more_than_the_limits_is_refused(tmp_path, limits, message):
    path = write(tmp_path / "x.tar.gz", "a.txt", "b.txt", "c.txt")
    with pytest.raises(DataError, match=message):
        read(path, **limits)
    assert read(path) == []


def test_a_bomb_of_zeros_is_refused_by_its_header(tmp_path):
    path = tmp_path / "x.tar.gz"
    header = tarfile.TarInfo("a.wav")
    header.size = 2**40
    with gzip.open(path, "wb") as file:
        file.write(header.tobuf() + bytes(2**16))
    with pytest.raises(DataError, match=f"member 'a.wav' has {2**40} bytes"):
        list(read_archive(path, lambda name: True))


@given(share=st.floats(0, 0.999), suffix=st.sampled_from(["tar", "tar.gz", "tar.bz2"]))
def test_a_shortened_archive_is_an_error_and_what_came_before_is_whole(
    tmp_path_factory, share, suffix
):
    folder = tmp_path_factory.mktemp("cut")
    path = folder / f"x.{suffix}"
    contents = {f"{n}.wav": bytes([n]) * 3_000 for n in range(4)}
    with tarfile.open(path, "w:" + suffix.partition(".")[2]) as archive:
        for name, content in contents.items():
            add(archive, name, content)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    got, complaint = {}, ""
    try:
        for name, content in read_archive(path, lambda name: True):
            got[str(name)] = content
    except DataError as error:
        complaint = str(error)
    # A plain archive cut between two members does not show it, nor one cut behind the last.
    assert "tar archive" in complaint or suffix == "tar" or got == contents
    assert got == dict(list(contents.items())[: len(got)])


def test_what_is_no_archive_is_named(tmp_path):
    with pytest.raises(DataError, match="no such archive"):
        read(tmp_path / "none.tar.gz")
    (tmp_path / "page.tar.gz").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"page.tar.gz: no tar archive, plain or") as error:
        read(tmp_path / "page.tar.gz")
    assert "\n" not in str(error.value)
    assert not is_archive(tmp_path / "mmau.json")
