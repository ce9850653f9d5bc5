import io
import json
import os
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.data.mmau import read_mmau
from keomni_rl.data.prepare.mmau_prepare import prepare_mmau, without_letters
from keomni_rl.data.prepare.mmau_sources import open_source
from keomni_rl.errors import DataError


def sound(form="WAV", subtype=None, rate_hz=16_000, channels=1, seed=0) -> bytes:
    wave = np.random.default_rng(seed).standard_normal((rate_hz // 2, channels)) * 0.1
    file = io.BytesIO()
    soundfile.write(file, wave, rate_hz, format=form, subtype=subtype)
    return file.getvalue()


CLIPS = {
    "a": sound(),
    "b": sound(subtype="FLOAT", rate_hz=48_000, channels=6),
    "c": sound("MP3", rate_hz=44_100, channels=2),
    "d": sound(subtype="PCM_32", rate_hz=44_100, channels=2),
}


def record(name: str, **more) -> dict:
    return {
        "id": name,
        "audio_id": f"./test-mini-audios/{name}.wav",
        "question": f"What is heard in {name}?",
        "choices": ["dog", "cat", "cow", "owl"],
        "answer": "cow",
        "dataset": "AudioSet",
        "task": "sound",
        "split": "test-mini",
        "category": "Reasoning",
        "sub-category": "Counting",
        "difficulty": "hard",
        **more,
    }


RECORDS = [
    record("a", category=["Reasoning"]),
    record("b", choices=[" dog", "cat", "cat"], answer=" dog"),
    record("c", choices=["(A major) bright", "(B minor) dark"], answer="(B minor) dark"),
    record("d", task="music"),
]
ODD = {
    "category was a list": ["a"],
    "an option occurs twice": ["b"],
    "space around an option": ["b"],
    "MP3 stream under the name of a wav, decoded": ["c"],
}


def hf_row(item: dict, clip: bytes | None) -> dict:
    rest = ("id", "task", "dataset", "split", "category", "sub-category", "difficulty")
    lettered = [f"({chr(65 + n)}) {choice}" for n, choice in enumerate(item["choices"])]
    answer = item.get("answer") and lettered[item["choices"].index(item["answer"])]
    return {
        "context": {"bytes": clip, "path": None},
        "instruction": item["question"],
        "choices": lettered,
        "answer": answer,
        "other_attributes": json.dumps({key: item[key] for key in rest}),
    }


def lmms_row(item: dict, clip: bytes) -> dict:
    row = {key: value for key, value in item.items() if key not in ("audio_id", "category")}
    return row | {
        "audio": {"bytes": clip, "path": "x.wav"},
        "choices": json.dumps(item["choices"]),
        "category": "Reasoning",
    }


def write_parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write_json(folder, records=RECORDS, clips=CLIPS, audio="test-mini-audios"):
    (folder / audio).mkdir(parents=True)
    for name, clip in clips.items():
        (folder / audio / f"{name}.wav").write_bytes(clip)
    path = folder / "mmau-test-mini.json"
    path.write_text(json.dumps(records))
    return path


def write_archive(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def packed_clips(clips=CLIPS):
    return {f"test-mini-audios/{name}.wav": clip for name, clip in reversed(clips.items())}


def from_parquet(folder):
    return [
        write_parquet(folder / "mini.parquet", [hf_row(r, CLIPS[r["id"]]) for r in RECORDS])
    ], None


def from_shards(folder):
    for n, part in enumerate((RECORDS[:1], RECORDS[1:])):
        rows = [hf_row(r, CLIPS[r["id"]]) for r in part]
        write_parquet(folder / "data" / f"test-0000{n}-of-00002.parquet", rows)
    return [folder / "data"], None


def from_lmms(folder):
    rows = [lmms_row(r, CLIPS[r["id"]]) for r in RECORDS]
    return [write_parquet(folder / "test_mini-00000-of-00001.parquet", rows)], None


def from_parquet_without_clips(folder):
    write_json(folder)
    rows = [hf_row(r, None) for r in RECORDS]
    return [write_parquet(folder / "mini.parquet", rows)], folder / "test-mini-audios"


def from_json(folder):
    return [write_json(folder)], None


def from_json_and_folder(folder):
    return [write_json(folder, audio="elsewhere")], folder / "elsewhere"


def from_json_and_archive(folder):
    archive = write_archive(folder / "audios.tar.gz", packed_clips())
    return [write_json(folder / "json", clips={})], archive


def from_one_archive(folder):
    text = json.dumps(RECORDS).encode()
    shadow = {"mmau/._mmau-test-mini.json": b"\0", "mmau/._a.wav": b"\0"}
    files = {"mmau/mmau-test-mini.json": text, **shadow}
    files |= {f"mmau/{name}": clip for name, clip in packed_clips().items()}
    return [write_archive(folder / "mmau.tgz", files)], None


SOURCES = [
    from_parquet,
    from_shards,
    from_lmms,
    from_parquet_without_clips,
    from_json,
    from_json_and_folder,
    from_json_and_archive,
    from_one_archive,
]


def prepare(folder, paths, audio=None):
    return prepare_mmau(open_source(paths, audio), folder / "out")


@pytest.mark.parametrize("make", SOURCES)
def test_every_source_gives_the_same_array_and_clips(tmp_path, make):
    prepared = prepare(tmp_path, *make(tmp_path))
    out = tmp_path / "out"
    assert prepared.file == out / "mmau-test-mini.json"
    assert prepared.version == "custom"
    assert dict(prepared.by_task) == {"sound": 3, "music": 1}
    odd = dict(prepared.odd)
    if make in (from_parquet, from_shards, from_parquet_without_clips):
        assert odd.pop("option letters taken off") == ["a", "b", "c", "d"]
    if make is from_lmms:
        odd["category was a list"] = ["a"]
    assert odd == ODD
    assert json.loads(prepared.notes.read_text()) == prepared.odd
    assert json.loads(prepared.file.read_text()) == [r | {"category": "Reasoning"} for r in RECORDS]
    assert prepared.file.read_text().startswith('[\n  {\n    "id": "a",\n    "audio_id"')
    questions = read_mmau(prepared.file)
    assert [q.audio for q in questions] == [
        str(out / "test-mini-audios" / f"{name}.wav") for name in CLIPS
    ]
    for name in ("a", "b", "d"):
        assert (out / "test-mini-audios" / f"{name}.wav").read_bytes() == CLIPS[name]
    decoded = soundfile.info(out / "test-mini-audios" / "c.wav")
    assert (decoded.format, decoded.subtype) == ("WAV", "PCM_16")
    assert (decoded.samplerate, decoded.channels) == (44_100, 2)
    told = {"mmau-test-mini.json", "mmau-test-mini.notes.json", "test-mini-audios"}
    assert {path.name for path in out.iterdir()} == told


def test_the_samples_of_an_mp3_stream_survive(tmp_path):
    prepared = prepare(tmp_path, *from_json(tmp_path))
    wanted, _ = soundfile.read(io.BytesIO(CLIPS["c"]))
    got, _ = soundfile.read(read_mmau(prepared.file)[2].audio)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 1e-4


def test_running_again_gives_the_same_mends_what_was_cut_off_and_takes_nobodys_folder(tmp_path):
    paths, audio = from_json(tmp_path)
    prepare(tmp_path, paths, audio)
    out = tmp_path / "out"
    (out / ".partial").mkdir()
    (out / ".partial" / "a.wav").write_bytes(b"somebody's")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "test-mini-audios" / "b.wav").unlink()
    (out / "mmau-test-mini.json").unlink()
    prepare(tmp_path, paths, audio)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_truncated_archive_is_one_error_and_keeps_the_whole_clips(tmp_path):
    paths, archive = from_json_and_archive(tmp_path)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DataError, match=r"audios.tar.gz: not a whole tar archive"):
        prepare(tmp_path, paths, archive)
    out = tmp_path / "out"
    assert [path.name for path in out.iterdir()] == ["test-mini-audios"]
    kept = {path.stem: path.read_bytes() for path in (out / "test-mini-audios").iterdir()}
    assert kept.pop("d") == CLIPS["d"]
    assert soundfile.info(io.BytesIO(kept.pop("c"))).format == "WAV"
    assert kept == {name: CLIPS[name] for name in kept}
    assert "a" not in kept


def test_missing_and_broken_clips_are_named_and_the_questions_stay(tmp_path):
    clips = {"a": CLIPS["a"], "b": b"RIFF, or so it says", "d": CLIPS["d"]}
    prepared = prepare(tmp_path, [write_json(tmp_path, clips=clips)])
    assert prepared.odd["clip missing"] == ["c"]
    assert prepared.odd["clip cannot be decoded, kept as it is"] == ["b"]
    assert len(read_mmau(prepared.file)) == 4


@pytest.mark.parametrize("form", ["FLAC", "MP3"])
@pytest.mark.parametrize("source", ["folder", "archive"])
def test_a_stream_that_is_damaged_after_its_head_is_kept_and_named(tmp_path, form, source):
    clip = sound(form, rate_hz=44_100)
    middle = len(clip) // 2
    damaged = clip[:middle] if form == "FLAC" else clip[:500] + b"\x00\xff" * middle
    assert soundfile.info(io.BytesIO(damaged)).format == form
    clips = CLIPS | {"b": damaged}
    path = write_json(tmp_path, clips=clips)
    packed = write_archive(tmp_path / "c.tar.gz", packed_clips(clips))
    prepared = prepare(tmp_path, [path], packed if source == "archive" else None)
    assert prepared.odd["clip cannot be decoded, kept as it is"] == ["b"]
    assert (tmp_path / "out" / "test-mini-audios" / "b.wav").read_bytes() == damaged
    assert len(read_mmau(prepared.file)) == 4


@pytest.mark.parametrize("first_has_one", [True, False])
def test_a_mixture_of_splits_is_refused_with_its_counts(tmp_path, first_has_one):
    both = [[record("a"), record("b")], [record("c", answer=None)]]
    answered, kept_back = both
    records = answered + kept_back if first_has_one else kept_back + answered
    message = "1 entries come without an answer and 2 with one"
    with pytest.raises(DataError, match=message):
        prepare(tmp_path, [write_json(tmp_path, records)])
    assert not list((tmp_path / "out").glob("*.json"))


def test_half_a_surrogate_pair_ends_nothing(tmp_path):
    prepared = prepare(tmp_path, [write_json(tmp_path, [record("a", question="\ud800!")])])
    assert read_mmau(prepared.file)[0].question == "?!"


def test_an_answer_that_is_no_choice_leaves_the_question_out(tmp_path):
    rows = [hf_row(r, CLIPS[r["id"]]) for r in RECORDS]
    rows[3]["answer"] = "(C) bird"
    prepared = prepare(tmp_path, [write_parquet(tmp_path / "mini.parquet", rows)])
    assert prepared.odd["left out: the answer is not among the choices"] == ["d"]
    assert [q.id for q in read_mmau(prepared.file)] == ["a", "b", "c"]
    rows = [row | {"answer": "bird"} for row in rows]
    with pytest.raises(DataError, match="row 1 and every other: the answer is not among"):
        prepare(tmp_path, [write_parquet(tmp_path / "mini.parquet", rows)])


def test_an_authors_path_is_found_by_name_and_written_as_the_official_one(tmp_path):
    records = [record("a", audio_id="/home/author/mmau/wavs/a.wav")]
    prepared = prepare(tmp_path, [write_json(tmp_path, records)])
    assert json.loads(prepared.file.read_text())[0]["audio_id"] == "./test-mini-audios/a.wav"
    outside = [record("a", audio_id="../../secret/a.wav")]
    prepared = prepare(tmp_path, [write_json(tmp_path / "x", outside)])
    assert (tmp_path / "out" / "test-mini-audios" / "a.wav").read_bytes() == CLIPS["a"]


@pytest.mark.parametrize("answer", ["", None])
def test_questions_without_answers_are_the_test_split(tmp_path, answer):
    records = [record("a", answer=answer, split="test"), record("b", answer=answer, split="test")]
    path = write_parquet(tmp_path / "t.parquet", [hf_row(r, CLIPS[r["id"]]) for r in records])
    prepared = prepare(tmp_path, [path])
    assert prepared.file.name == "mmau-test.json"
    assert prepared.version == "custom"
    (first, _) = read_mmau(prepared.file)
    assert first.answer is None
    assert first.audio == str(tmp_path / "out" / "test-audios" / "a.wav")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"other_attributes": "{"}, r"row 2: other_attributes is not JSON"),
        ({"other_attributes": "[]"}, r"row 2: other_attributes is \[\], wanted a mapping"),
        ({"other_attributes": '{"task": "sound"}'}, r"row 2: the id is None"),
        ({"other_attributes": '{"id": "../a"}'}, r"row 2: the id is '../a'"),
        ({"other_attributes": '{"id": ' + "9" * 5_000 + "}"}, r"row 2: other_attributes is not J"),
        ({"choices": None}, r"row 2: choices is None, wanted a list"),
        ({"instruction": None}, r"row 2: 'question' is None"),
        ({"other_attributes": '{"id": "b"}'}, r"row 2: no 'task'"),
    ],
)
def test_a_bad_row_of_parquet_is_named(tmp_path, change, message):
    rows = [hf_row(r, CLIPS[r["id"]]) for r in RECORDS]
    rows[1] |= change
    with pytest.raises(DataError, match=f"mini.parquet, {message}"):
        prepare(tmp_path, [write_parquet(tmp_path / "mini.parquet", rows)])


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([RECORDS[0], 5], r"entry 2: wanted an object, got 5"),
        ([RECORDS[0], {"audio_id": "b.wav"}], r"entry 2: 'id' is None, wanted text"),
        ([RECORDS[0], record("b", id=["b"])], r"entry 2: 'id' is \['b'\], wanted text"),
        ([RECORDS[0], {"id": "b"}], r"entry 2: 'audio_id' is None, wanted the path of a clip"),
        ([RECORDS[0], record("b", audio_id=7)], r"entry 2: 'audio_id' is 7, wanted the path"),
        ([RECORDS[0], record("b", audio_id="..")], r"entry 2: 'audio_id' is '..', wanted the"),
        ([RECORDS[0], record("b", audio_id="b" * 300)], r"entry 2: audio '.*b{9} is no path"),
        ([{"id": "a", "audio_id": "a.wav", "answer": ""}], r"entry 1: no 'question'"),
        ([RECORDS[0], record("b", task="smell")], r"entry 2: task 'smell'"),
        ([RECORDS[0], record("b", choices="dog")], r"entry 2: 'choices' is 'dog'"),
        ([RECORDS[0], RECORDS[0]], r"id 'a' occurs twice"),
    ],
)
def test_a_bad_entry_of_json_is_named_and_no_array_is_written(tmp_path, records, message):
    path = write_json(tmp_path, records)
    with pytest.raises(DataError, match=message):
        prepare(tmp_path, [path])
    assert not (tmp_path / "out" / "mmau-test-mini.json").exists()


def test_two_clips_of_one_name_are_an_error(tmp_path):
    records = [record("a", audio_id="x/a.wav"), record("b", audio_id="y/a.wav")]
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").write_bytes(CLIPS["a"])
    path = write_json(tmp_path, records, clips={})
    with pytest.raises(DataError, match="x/a.wav and .*y/a.wav are two clips of one name"):
        prepare(tmp_path, [path])
    packed = write_archive(tmp_path / "c.tar.gz", {"x/a.wav": b"1", "y/a.wav": b"2"})
    with pytest.raises(DataError, match="holds x/a.wav and y/a.wav"):
        prepare(tmp_path, [path], packed)


def test_a_clip_of_two_questions_is_written_once_for_both(tmp_path):
    records = [record("a"), record("b", audio_id="./test-mini-audios/a.wav")]
    packed = write_archive(tmp_path / "c.tar.gz", packed_clips())
    for audio in (None, packed):
        prepared = prepare(tmp_path, [write_json(tmp_path / str(audio is None), records)], audio)
        assert len({q.audio for q in read_mmau(prepared.file)}) == 1


def test_the_source_is_never_overwritten(tmp_path):
    path = write_json(tmp_path / "out")
    with pytest.raises(DataError, match="would overwrite"):
        prepare(tmp_path, [path])
    assert json.loads(path.read_text()) == RECORDS


def test_what_is_no_source_is_named(tmp_path):
    def refused(message, *paths, audio=None):
        with pytest.raises(DataError, match=message):
            prepare(tmp_path, list(paths), audio)

    refused("none: no such file or folder", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    refused("empty: holds no Parquet files", tmp_path / "empty")
    (tmp_path / "mmau.csv").touch()
    refused("mmau.csv: wanted MMAU's JSON", tmp_path / "mmau.csv")
    path = write_json(tmp_path / "json", clips={})
    refused("only Parquet comes in several files", path, path)
    refused("not one clip of its 4 questions was found", path)
    refused("gone: no folder and no tar archive of clips", path, audio=tmp_path / "gone")
    refused("holds no JSON", write_archive(tmp_path / "a.tar.gz", packed_clips()))
    two = {"mmau-test.json": b"[]", "x/mmau-test-mini.json": b"[]"}
    refused("holds mmau-test.json and x/mmau-t", write_archive(tmp_path / "b.tar.gz", two))
    bad = write_archive(tmp_path / "c.tar.gz", {"mmau.json": b"[{"})
    refused("c.tar.gz, mmau.json: not JSON", bad)


def test_what_is_no_parquet_of_mmau_is_named(tmp_path):
    def refused(message, *paths):
        with pytest.raises(DataError, match=message):
            prepare(tmp_path, list(paths))

    (tmp_path / "page.parquet").write_text("<html>")
    refused("page.parquet: not a Parquet file", tmp_path / "page.parquet")
    other = write_parquet(tmp_path / "other.parquet", [{"text": "x", "label": 1}])
    refused("has the columns text, label; wanted those of MMAU", other)
    row = hf_row(RECORDS[0], CLIPS["a"])
    empty = tmp_path / "none.parquet"
    pq.write_table(pa.Table.from_pylist([row]).slice(0, 0), empty)
    refused("none.parquet: holds no rows", empty)
    for split in ("test", "test_mini"):
        write_parquet(tmp_path / "both" / f"{split}-00000-of-00001.parquet", [row])
    refused(r"several splits \(test, test_mini\)", tmp_path / "both")


def test_parquet_files_are_closed(tmp_path):
    def num_open():
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        return sum(os.path.exists(link) and ".parquet" in os.readlink(link) for link in links)

    paths, audio = from_shards(tmp_path)
    source = open_source(paths, audio)
    assert num_open() == 0
    next(source.entries)
    assert num_open() == 1
    assert len(list(source.entries)) == 3
    assert num_open() == 0
    other = write_parquet(tmp_path / "other.parquet", [{"text": "x"}])
    with pytest.raises(DataError, match="has the columns text") as error:
        open_source([other], None)
    assert error.value.args  # the traceback, and with it the reader, is still alive
    assert num_open() == 0


def test_damage_within_a_parquet_file_is_named(tmp_path):
    rows = [hf_row(record(f"q{n}"), CLIPS["a"]) for n in range(40)]
    path = tmp_path / "mini.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd", row_group_size=10)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2_000] = bytes(2_000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mini.parquet: damaged after row \d+"):
        prepare(tmp_path, [path])


@given(
    choices=st.lists(st.text(max_size=12).filter(str.strip), min_size=1, max_size=26),
    answer=st.integers(0, 25),
    space=st.just(" "),
)
def test_letters_come_off_as_they_were_put_on(choices, answer, space):
    lettered = [f"({chr(65 + n)}){space}{choice}" for n, choice in enumerate(choices)]
    place = answer % len(choices)
    assert without_letters(lettered, lettered[place]) == (choices, choices[place])
    assert without_letters(lettered, f"x {lettered[place]}") == (choices, f"x {lettered[place]}")


@pytest.mark.parametrize(
    "choices",
    [
        ["(A) dog", "(B) cat", "owl"],
        ["(A) dog", "(C) cat"],
        ["(A)", "(B) "],
        ["(B) dog", "(A) cat"],
        ["(a) dog", "(b) cat"],
        ["(A major) x", "(B minor) y"],
        ["A) dog", "B) cat"],
        [],
    ],
)
def test_options_that_are_not_all_lettered_in_order_stay(choices):
    assert without_letters(choices, "dog") is None
