import json
import subprocess
import sys
from pathlib import Path

import pytest

from keomni_rl.data.prepare.question_writer import QuestionWriter, Written
from keomni_rl.data.prepare.raw_rows import UnusableRowError
from keomni_rl.data.prepare.selection import Selection
from keomni_rl.data.questions import QuestionFile
from keomni_rl.errors import DataError

ALL = Selection()


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "wavs" / "deep").mkdir(parents=True)
    for name in ("a.wav", "b.flac", "deep/c.wav"):
        (tmp_path / "wavs" / name).write_bytes(b"RIFF")
    (tmp_path / "raw.json").write_text("[]")
    return tmp_path


def writer(
    folder: Path, out: str = "q.jsonl", audio: str = "wavs", holds_out: bool = False
) -> QuestionWriter:
    return QuestionWriter(
        folder / out,
        audio=folder / audio,
        raw=folder / "raw.json",
        kind_key="kind",
        holds_out=holds_out,
    )


def write(folder: Path, *rows: dict, selection: Selection = ALL) -> Written:
    with writer(folder) as w:
        for number, one in enumerate(rows, start=1):
            w.add(one, number)
        return w.finish(selection)


def row(name: str, audio: str = "wavs/a.wav", **more) -> dict:
    choices = ["x", "y", "z"]
    return {
        "id": name,
        "question": f"What, {name}?",
        "choices": choices,
        "answer": "y",
        "audio": audio,
    } | more


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_written_is_read_by_training(folder):
    with writer(folder) as w:
        w.add(row("1", w.audio.find("a.wav"), kind="k", note="größer"), 1)
        w.add(row("2", w.audio.find("nope.wav", "b.flac")), 2)
        w.add(row("3", w.audio.find("deep/c.wav"), answer="z"), 3)
        w.skip(4, "4", "odd", "so odd")
        written = w.finish(ALL)
    questions = QuestionFile(folder / "q.jsonl")
    assert [questions[i].id for i in range(len(questions))] == ["1", "2", "3"]
    assert questions[2].audio == str((folder / "wavs/deep/c.wav").resolve())
    assert questions[0].extra == {"kind": "k", "note": "größer"}
    assert (written.num_train, written.num_clips, written.reasons) == (3, 3, {"odd": 1})
    assert (written.kinds, written.places) == ({"k": 1, "": 2}, {2: 2, 3: 1})
    assert lines(folder / "q.skipped.jsonl") == [
        {"row": 4, "id": "4", "reason": "odd", "detail": "so odd"}
    ]
    assert sorted(p.name for p in folder.iterdir()) == [
        "q.jsonl",
        "q.skipped.jsonl",
        "raw.json",
        "wavs",
    ]


def test_audio_in_the_same_folder_as_the_questions(folder):
    with writer(folder, out="wavs/q.jsonl") as w:
        w.add(row("1", w.audio.find("deep/c.wav")), 1)
        w.finish(ALL)
    assert lines(folder / "wavs/q.jsonl")[0]["audio"] == "deep/c.wav"


def test_nothing_is_left_of_a_call_that_fails(folder):
    (folder / "q.jsonl").write_text("what was there before\n")
    with pytest.raises(UnusableRowError, match="malformed"):
        write(folder, row("1"), row("2", answer="w"))
    with pytest.raises(DataError, match="--sample 2"):
        write(folder, row("1"), selection=Selection(sample=2))
    assert sorted(p.name for p in folder.iterdir()) == ["q.jsonl", "raw.json", "wavs"]
    assert (folder / "q.jsonl").read_text() == "what was there before\n"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row("1", answer="w"), "malformed"),
        (row("1", choices=["y", "y"]), "malformed"),
        (row("1", audio="../a.wav"), "malformed"),
        (row("1", question="\ud800"), "malformed"),
        (row("1", note="x" * 2**20), "malformed"),
        (row("1", question="Is it <answer>?"), "reserved text"),
        (row("1", choices=["x", "y", "<|im_end|>"]), "reserved text"),
    ],
)
def test_what_training_would_refuse_is_not_taken(folder, bad, reason):
    with writer(folder) as w:
        with pytest.raises(UnusableRowError) as error:
            w.add(bad, 1)
        assert error.value.reason == reason
        w.add(row("1"), 1)  # and its id is still free
        w.finish(ALL)
    assert [r["id"] for r in lines(folder / "q.jsonl")] == ["1"]


def test_ids_are_unique_and_questions_are_not_repeated(folder):
    with writer(folder) as w:
        w.add(row("1"), 1)
        w.add(row("1", question="Another?"), 2)
        w.add(row("1", question="A third?"), 3)
        with pytest.raises(UnusableRowError, match="duplicate"):
            w.add(row("9", question="Another?", choices=["z", "y", "x"]), 4)
        w.add(row("1", question="Another?"), 5, may_repeat=True)
        w.add(row("1#2", question="A fourth?"), 6)
        w.finish(ALL)
    assert [r["id"] for r in lines(folder / "q.jsonl")] == ["1", "1#2", "1#3", "1#4", "1#2#2"]
    assert len(QuestionFile(folder / "q.jsonl")) == 5


def test_clips_can_be_dropped_by_path(folder):
    with writer(folder) as w:
        for n, clip in enumerate(["a.wav", "b.flac", "a.wav", "deep/c.wav"], start=1):
            w.add(row(str(n), w.audio.find(clip)), n)
        paths = w.audio_paths()
        assert paths == [(folder / "wavs" / n).resolve() for n in ("a.wav", "b.flac", "deep/c.wav")]
        written = w.finish(Selection(drop=frozenset(paths[:1])))
    assert [r["id"] for r in lines(folder / "q.jsonl")] == ["2", "4"]
    assert written.reasons == {"clip is in the evaluation set": 2}
    assert [r["row"] for r in lines(folder / "q.skipped.jsonl")] == [1, 3]


def test_when_every_clip_is_dropped_nothing_is_written(folder):
    drop = frozenset([folder.resolve() / "wavs/a.wav"])
    with pytest.raises(DataError, match="every question's clip is in the evaluation set"):
        write(folder, row("1"), selection=Selection(drop=drop))
    assert not (folder / "q.jsonl").exists()


def test_held_out_questions_have_a_file_of_their_own(folder):
    with writer(folder) as w:
        for n in range(6):
            w.add(row(str(n), w.audio.find(("a.wav", "b.flac", "deep/c.wav")[n % 3])), n)
        written = w.finish(Selection(heldout=2, seed=1))
    train, heldout = QuestionFile(written.train), QuestionFile(written.heldout)
    assert (len(train), len(heldout), written.num_heldout) == (4, 2, 2)
    assert heldout[0].audio == heldout[1].audio
    assert heldout[0].audio not in {train[i].audio for i in range(4)}
    with pytest.raises(DataError, match="held out by an earlier call"):
        writer(folder)  # before a row is read
    with writer(folder, holds_out=True) as w:
        w.add(row("1"), 1)
        with pytest.raises(DataError, match="held out by an earlier call"):
            w.finish(ALL)


def test_places_that_cannot_be_written_are_refused_with_a_remedy(folder):
    (folder / "sub").mkdir()
    with pytest.raises(
        DataError, match=rf"outside the folder of the questions.*use --out {folder}/q.jsonl"
    ):
        writer(folder, out="sub/q.jsonl")
    with pytest.raises(DataError, match="ends in .jsonl"):
        writer(folder, out="q.json")
    with pytest.raises(DataError, match="no such folder"):
        writer(folder, audio="wav")
    (folder / "raw.jsonl").write_text("")
    for out in ("raw.jsonl", "raw.skipped.jsonl", "raw.heldout.jsonl", "raw.overlap.jsonl"):
        (folder / out).touch()
        with pytest.raises(DataError, match="would overwrite"):
            QuestionWriter(
                folder / "raw.jsonl", audio=folder / "wavs", raw=folder / out, kind_key=""
            )


def test_a_folder_of_links_is_named_with_a_remedy(folder):
    (folder / "blobs").mkdir()
    (folder / "blobs/1").write_bytes(b"RIFF")
    (folder / "set").mkdir()
    (folder / "set/d.wav").symlink_to("../blobs/1")
    with writer(folder, out="set/q.jsonl", audio="set") as w:
        with pytest.raises(UnusableRowError, match="audio elsewhere"):
            w.audio.find("d.wav")
        with pytest.raises(DataError, match=r"d\.wav, is a link that leads out of .*set, where"):
            w.finish(ALL)
    with writer(folder, audio="set") as w:  # the blobs are inside the questions' folder now
        w.add(row("1", w.audio.find("d.wav")), 1)
        w.finish(ALL)
    assert QuestionFile(folder / "q.jsonl")[0].audio == str(folder.resolve() / "blobs/1")


def test_audio_that_cannot_be_is_named(folder):
    (folder / "wavs/empty.wav").touch()
    with writer(folder) as w:
        for bad, reason in [
            ("x.wav", "audio missing"),
            ("empty.wav", "audio empty"),
            ("deep", "audio missing"),
            ("\0", "audio missing"),
            ("x" * 5000, "audio missing"),
            ("/etc/hostname", "audio elsewhere"),
            ("../../raw.json", "audio missing"),
        ]:
            with pytest.raises(UnusableRowError) as error:
                w.audio.find(bad)
            assert error.value.reason == reason, bad


def test_when_nothing_is_left_the_reasons_are_told(folder):
    with writer(folder) as w:
        w.audio.find("a.wav")
        for number, reason in enumerate(["odd", "empty", "odd"]):
            w.skip(number, "", reason)
        with pytest.raises(
            DataError, match=r"raw.json: no row becomes a question: odd \(2\), empty"
        ):
            w.finish(ALL)


@pytest.mark.parametrize("name", ["q.jsonl", "q.heldout.jsonl", "q.skipped.jsonl"])
def test_a_folder_under_an_outputs_name_is_refused_before_anything_is_read(folder, name):
    (folder / name).mkdir()
    with pytest.raises(DataError, match=rf"--out .*/q.jsonl: .*/{name} is a folder"):
        writer(folder)


def test_no_training_file_stands_beside_held_out_questions_that_it_may_hold(folder):
    (folder / "q.jsonl").write_text("training of an earlier call\n")
    with writer(folder, holds_out=True) as w:
        w.add(row("1"), 1)
        w.add(row("2", w.audio.find("b.flac")), 2)
        (folder / "q.heldout.jsonl").mkdir()  # so that this call ends between the two files
        with pytest.raises(DataError, match="q.jsonl: cannot be written"):
            w.finish(Selection(heldout=1))
    assert not (folder / "q.jsonl").exists()


FULL_DISK = """
import resource, signal
from pathlib import Path
from keomni_rl.data.prepare.question_writer import QuestionWriter
from keomni_rl.errors import DataError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder = Path.cwd()
try:
    with QuestionWriter(
        folder / "q.jsonl", audio=folder / "wavs", raw=folder / "raw.json", kind_key=""
    ) as writer:
        for number in range(10_000):
            {step}
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "step",
    [
        'writer.skip(number, "1", "odd", "so odd" * 50)',
        'writer.add({"id": str(number), "question": str(number), "choices": ["x", "y"], '
        '"answer": "x", "audio": "wavs/a.wav", "note": "z" * 500}, number)',
    ],
)
def test_a_file_that_the_disk_does_not_take_is_named(folder, step):
    program = FULL_DISK.replace("{step}", step)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"--out {folder}/q.jsonl: cannot be written (File too large)")
    assert sorted(p.name for p in folder.iterdir()) == ["raw.json", "wavs"]
