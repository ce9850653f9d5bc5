"""Archives and folders of clips that would write elsewhere, fill memory, or are damaged."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.data.prepare.archives import ArchiveLimits, is_archive, read_archive
from keomni_rl.data.prepare.mmau_clips import MAX_SAMPLES, TOO_LONG
from keomni_rl.data.prepare.mmau_parquet import ParquetFiles
from keomni_rl.data.prepare.mmau_prepare import prepare_mmau
from keomni_rl.data.prepare.mmau_sources import open_source
from keomni_rl.errors import DataError
from tests.odd_values import damaged, json_values, sparse, taken_or_refused, texts

MIB = 2**20
RECORD = {
    "id": "a",
    "audio_id": "./test-mini-audios/a.wav",
    "question": "What?",
    "choices": ["dog", "cat"],
    "answer": "cat",
    "task": "sound",
    "difficulty": "easy",
}
HEADERS = [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK]


def sound(form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(8_000)), 16_000, format=form)
    return file.getvalue()


def member(name: str, content: bytes = b"", **more) -> bytes:
    """A member as it stands in a tar file."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def write(path: Path, *members: bytes) -> Path:
    end = bytes(1024)
    pack = gzip.compress if path.suffix == ".gz" else bytes
    path.write_bytes(pack(b"".join([*members, end])))
    return path


def read(path: Path, **limits) -> dict[str, bytes]:
    found = read_archive(path, lambda _: True, ArchiveLimits(**limits))
    return {str(name): content for name, content in found}


def prepare(inside: Path, *sources: Path, audio: Path | None = None) -> list[str]:
    """Prepare MMAU in a folder of its own; the files that it then holds."""
    out = inside / "out"
    prepare_mmau(open_source(sources, audio), out)
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["../outside/kept.wav", "/etc/kept.wav", "a/../../kept.wav", ".."])
def test_a_member_that_points_outside_stops_the_preparation(inside, outside, name):
    name = name.replace("/etc/kept.wav", str(outside))
    record = json.dumps([RECORD | {"audio_id": "kept.wav"}]).encode()
    archive = write(inside / "x.tar.gz", member("mmau.json", record), member(name, sound()))
    with pytest.raises(DataError, match=r"x.tar.gz: member .* points out of the archive's folder"):
        prepare(inside, archive)
    assert not (inside / "out").exists()


def test_a_link_cannot_be_written_through(inside, outside):
    """First a link to a folder outside, then a file in it, as unpackers have fallen for."""
    link = member("clips", type=tarfile.SYMTYPE, linkname=str(outside.parent))
    record = json.dumps([RECORD | {"audio_id": "clips/kept.wav"}]).encode()
    file = member("clips/kept.wav", sound())
    archive = write(inside / "x.tar", member("mmau.json", record), link, file)
    with pytest.raises(DataError, match=r"x.tar: member 'clips' is a link or a device"):
        prepare(inside, archive)


@pytest.mark.parametrize(
    "audio_id", ["../outside/kept.wav", "/outside/kept.wav", "../../kept.wav", "a/b/../kept.wav"]
)
def test_questions_that_point_outside_get_their_clip_by_its_name(inside, audio_id):
    record = json.dumps([RECORD | {"audio_id": audio_id}]).encode()
    clip = member("clips/kept.wav", sound())
    archive = write(inside / "x.tar.gz", member("mmau.json", record), clip)
    assert prepare(inside, archive) == [
        "mmau-test-mini.json",
        "mmau-test-mini.notes.json",
        "test-mini-audios/kept.wav",
    ]


def test_a_link_in_the_output_is_refused_and_not_written_through(inside, outside):
    clips = inside / "out" / "test-mini-audios"
    clips.mkdir(parents=True)
    (clips / "a.wav").symlink_to(outside)
    record = json.dumps([RECORD]).encode()
    archive = write(inside / "x.tar", member("mmau.json", record), member("a.wav", sound()))
    with pytest.raises(DataError, match="audio .* lies outside"):
        prepare(inside, archive)


def test_a_clip_that_is_a_link_out_of_its_folder_is_not_copied(inside, outside):
    clips = inside / "clips"
    clips.mkdir()
    (clips / "a.wav").symlink_to(outside)
    (inside / "mmau.json").write_text(json.dumps([RECORD]))
    with pytest.raises(DataError, match=r"a.wav: a link that leads out of .*cp -rL"):
        prepare(inside, inside / "mmau.json", audio=clips)
    assert not list((inside / "out").rglob("*.wav"))


@pytest.mark.parametrize("kind", HEADERS, ids=["pax", "global pax", "long name", "long link"])
def test_a_header_that_would_fill_memory_is_refused(inside, memory_below, kind):
    """`tarfile` reads such a header in one piece, of whatever size it says it is."""
    path = inside / "x.tar"
    start = member("x", type=kind, size=2**30)
    sparse(path, start=start, num_bytes=len(start) + 2**30)
    with memory_below(16 * MIB), pytest.raises(DataError, match="x.tar: no tar archive"):
        read(path)
    first = member("a.wav", b"sound")
    sparse(path, start=first + start, num_bytes=len(first + start) + 2**30)
    with memory_below(16 * MIB), pytest.raises(DataError, match="a header of over 1048576 bytes"):
        read(path)


def test_headers_without_end_are_refused(inside):
    chain = [member("x", b"name\0", type=tarfile.GNUTYPE_LONGNAME)] * 5_000
    with pytest.raises(DataError, match="x.tar.gz: not a whole tar archive"):
        read(write(inside / "x.tar.gz", member("a.wav", b"sound"), *chain, member("b.wav")))


def test_headers_that_add_up_take_the_memory_of_one(inside, memory_below):
    attribute = b"x=" + b"y" * 200_000 + b"\n"
    header = b"%d " % (len(attribute) + 7) + attribute
    pairs = [
        member("x", header, type=tarfile.XHDTYPE) + member(f"{number}.wav") for number in range(200)
    ]
    path = write(inside / "x.tar.gz", *pairs)
    with memory_below(8 * MIB):
        assert len(read(path)) == 200


def test_questions_in_many_files_are_not_all_read(inside, memory_below):
    large = json.dumps([RECORD | {"note": "y" * MIB}]).encode()
    path = write(inside / "x.tar.gz", *(member(f"{n}.json", large) for n in range(40)))
    with memory_below(16 * MIB), pytest.raises(DataError, match="holds 0.json and 1.json; unpack"):
        open_source([path], None)


@pytest.mark.parametrize("size", [-1, -512, 2**28 + 1, 2**62])
def test_a_size_that_no_clip_has_is_refused(inside, size):
    packed = bytearray(member("a.wav", b"sound"))
    packed[124:136] = (b"\xff" if size < 0 else b"\x80") + size.to_bytes(11, "big", signed=True)
    packed[148:156] = b" " * 8
    packed[148:156] = b"%06o\0 " % sum(packed[:512])
    with pytest.raises(DataError, match=f"x.tar: member 'a.wav' has {size} bytes"):
        read(write(inside / "x.tar", bytes(packed)))


def test_a_file_with_holes_is_refused(inside):
    packed = member("a.wav", type=tarfile.GNUTYPE_SPARSE)
    with pytest.raises(DataError, match="x.tar: member 'a.wav' is a link or a device"):
        read(write(inside / "x.tar", packed))


def test_damage_between_members_is_not_taken_for_the_end(inside):
    broken = bytearray(member("b.wav", b"sound"))
    broken[0] ^= 1
    path = write(inside / "x.tar", member("a.wav", b"sound"), bytes(broken), member("c.wav"))
    with pytest.raises(DataError, match="not a whole tar archive .no header where member 2 should"):
        read(path)


def test_a_bomb_of_many_members_is_stopped(inside, memory_below):
    path = write(inside / "x.tar.gz", *(member(f"{n}.wav") for n in range(20_000)))
    with memory_below(32 * MIB), pytest.raises(DataError, match="holds more than 2000 members"):
        read(path, max_members=2_000)


def test_names_are_cut_in_messages(inside):
    name = "../" + "n" * 90_000
    long = member("x", name.encode() + b"\0", type=tarfile.GNUTYPE_LONGNAME)
    with pytest.raises(DataError, match="points out of the archive's folder") as error:
        read(write(inside / "x.tar", long + member("cut")))
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("name", ["x.tar.xz", "x.tar.zst", "x.zip", "x.7z", "x.tar.gz.exe"])
def test_archives_whose_unpacking_has_no_bound_are_not_taken(name):
    """An xz file says itself how much memory it takes to unpack, up to 4 GiB."""
    assert not is_archive(Path(name))


def test_a_stream_that_unpacks_to_hours_is_kept_as_it_is(inside, memory_below):
    small = bytearray(sound("FLAC"))
    small[21] |= 15  # with the four bytes that follow, the number of samples: 2^36 and less
    small[22:26] = b"\xff" * 4
    clips = inside / "clips"
    clips.mkdir()
    (clips / "a.wav").write_bytes(small)
    (inside / "mmau.json").write_text(json.dumps([RECORD]))
    with memory_below(16 * MIB):
        prepare(inside, inside / "mmau.json", audio=clips)
    notes = json.loads((inside / "out" / "mmau-test-mini.notes.json").read_text())
    assert notes == {TOO_LONG: ["a"]}
    assert (inside / "out" / "test-mini-audios" / "a.wav").read_bytes() == small
    assert soundfile.info(clips / "a.wav").frames > MAX_SAMPLES


def test_mmaus_parquet_of_undecodable_text_is_named(inside):
    bad = pa.array([b"\xff\xfe"]).cast(pa.string(), safe=False)
    clip = [{"bytes": b"", "path": ""}]
    table = pa.table({"context": clip, "instruction": bad, "choices": [["x"]], "answer": ["x"]})
    pq.write_table(table.append_column("id", pa.array(["a"])), inside / "q.parquet")
    with pytest.raises(DataError, match="q.parquet: damaged after row 0 .*can't decode byte"):
        list(ParquetFiles([inside / "q.parquet"]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[bytes]:
    path = tmp_path_factory.mktemp("whole") / "x"
    contents = []
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        with tarfile.open(path, "w", format=form) as archive:
            for name in ("é.wav", "folder/" * 10 + "b.wav", "c.wav"):
                info = tarfile.TarInfo(name)
                info.size, info.mtime = 700, 1.5
                archive.addfile(info, io.BytesIO(b"s" * 700))
        contents += [path.read_bytes(), gzip.compress(path.read_bytes())]
    return contents


@settings(max_examples=400)
@given(data=st.data())
def test_a_damaged_archive_is_read_or_refused(tmp_path_factory, whole, data):
    path = tmp_path_factory.getbasetemp() / "damaged.tar.gz"
    path.write_bytes(data.draw(damaged(whole)))
    taken_or_refused(lambda: read(path), str(path))


@settings(max_examples=150)
@given(
    st.lists(st.dictionaries(st.sampled_from(list(RECORD)), json_values | texts, max_size=3)),
    st.lists(texts | st.sampled_from(["a.wav", "clips/a.wav"]), max_size=4),
)
def test_any_questions_and_clips_write_only_below_the_output(tmp_path_factory, changes, names):
    folder = tmp_path_factory.mktemp("fuzz")
    records = [RECORD | {"id": str(n)} | change for n, change in enumerate(changes)]
    with tarfile.open(folder / "x.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in [
            ("mmau.json", json.dumps(records).encode()),
            *((n, b"s") for n in names),
        ]:
            info = tarfile.TarInfo(name.encode(errors="replace").decode())
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    before = set(tmp_path_factory.getbasetemp().iterdir())
    taken_or_refused(lambda: prepare(folder, folder / "x.tar"))
    assert set(tmp_path_factory.getbasetemp().iterdir()) == before
    assert {path.name for path in folder.iterdir()} <= {"x.tar", "out"}
