import json
from pathlib import Path

import pytest

from keomni_rl.data.prepare.audiomcq import KIND_KEY, convert_audiomcq, find_manifest
from keomni_rl.data.prepare.question_writer import QuestionWriter, Written
from keomni_rl.data.prepare.selection import Selection
from keomni_rl.data.questions import QuestionFile
from keomni_rl.errors import DataError

ALL = Selection()


def row(n: int, clip: int | None = None, **more) -> dict:
    clip = n if clip is None else clip
    return {
        "source_dataset": "AudioCaps",
        "id": str(n),
        "question_type": ("sound", "music")[n % 2],
        "audio_path": f"AudioCaps/{clip}.wav",
        "question": f"What is heard at {n} s?",
        "choices": ["rain", "a car", "speech", "a bird"],
        "answer": "speech",
        "gemini_cot": "<think>I hear someone talk.</think>",
    } | more


def convert(folder: Path, rows: list, *, selection=ALL, without=(), **how) -> Written:
    (folder / "AudioCaps").mkdir(exist_ok=True)
    for r in rows:
        if (
            isinstance(r, dict)
            and isinstance(r.get("audio_path"), str)
            and r["audio_path"] not in without
        ):
            (folder / r["audio_path"]).write_bytes(b"RIFF")
    raw = folder / "data.jsonl"
    raw.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    with QuestionWriter(
        folder / "train.jsonl",
        audio=folder,
        raw=raw,
        kind_key=KIND_KEY,
        holds_out=selection.heldout > 0,
    ) as writer:
        convert_audiomcq(raw, writer, **how)
        return writer.finish(selection)


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_row_of_audiomcq(tmp_path):
    written = convert(tmp_path, [row(4), row(5), row(6, question_type=None)])
    assert rows_of(written.train)[0] == {
        "id": "audiomcq_AudioCaps_4",
        "question": "What is heard at 4 s?",
        "choices": ["rain", "a car", "speech", "a bird"],
        "answer": "speech",
        "audio": "AudioCaps/4.wav",
        "dataset": "AudioMCQ",
        "source_dataset": "AudioCaps",
        "question_type": "sound",
        "gemini_cot": "<think>I hear someone talk.</think>",
    }
    assert QuestionFile(written.train)[1].answer == "speech"
    assert written.kinds == {"sound": 1, "music": 1, "": 1}


def test_clips_of_the_held_out_slice_are_not_trained_on(tmp_path):
    rows = [row(n, clip=n // 2) for n in range(60)]
    written = convert(tmp_path, rows, selection=Selection(heldout=11, seed=2))
    train, heldout = rows_of(written.train), rows_of(written.heldout)
    assert written.heldout.name == "train.heldout.jsonl"
    assert (len(train), len(heldout)) == (48, 11)
    assert not {r["audio"] for r in train} & {r["audio"] for r in heldout}
    assert written.reasons == {"clip is held out": 1}
    assert len(QuestionFile(written.heldout)) == 11
    before = written.train.read_bytes(), written.heldout.read_bytes()
    written = convert(tmp_path, rows, selection=Selection(heldout=11, seed=2))
    assert (written.train.read_bytes(), written.heldout.read_bytes()) == before
    convert(tmp_path, rows, selection=Selection(heldout=11, seed=3))
    assert written.heldout.read_bytes() != before[1]


def test_a_sample_is_taken_of_what_is_not_held_out(tmp_path):
    written = convert(
        tmp_path, [row(n) for n in range(30)], selection=Selection(heldout=5, sample=10)
    )
    assert (written.num_train, written.num_heldout, written.reasons) == (
        10,
        5,
        {"not in the sample": 15},
    )


def test_what_can_be_answered_without_listening_is_skipped(tmp_path):
    rows = [
        row(0, **{"audio-contribution": "strong"}),
        row(1, **{"audio-contribution": "weak"}),
        row(2),
    ]
    written = convert(tmp_path, rows)
    assert (written.num_train, written.reasons) == (2, {"not of strong audio contribution": 1})
    assert convert(tmp_path, rows, all_contributions=True).num_train == 3


def test_malformed_and_silent_rows_are_counted(tmp_path):
    rows = [
        row(0),
        row(1, answer="thunder"),
        row(2, answer=None),
        row(3, choices=["speech", "speech", "rain"]),
        row(4, choices="speech"),
        row(5, audio_path=None),
        row(6),
        row(7, id=None),
        None,
        row(0),
        row(0, source_dataset="Clotho", audio_path="AudioCaps/0.wav", question="And here?"),
        row(0, question="Another of the same id?"),
        row(8, answer=" speech ", choices=["rain ", "speech"]),
    ]
    written = convert(tmp_path, rows, without=["AudioCaps/6.wav"])
    assert [r["id"] for r in rows_of(written.train)] == [
        "audiomcq_AudioCaps_0",
        "audiomcq_Clotho_0",
        "audiomcq_AudioCaps_0#2",
        "audiomcq_AudioCaps_8",
    ]
    assert written.reasons == {
        "malformed": 6,
        "equal choices": 1,
        "audio missing": 1,
        "duplicate": 1,
    }
    assert [r["row"] for r in rows_of(written.skipped)] == [2, 3, 4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"messages": []}],
            "line 1: no 'id'; AudioMCQ's rows have id, audio_path, question, choices, answer",
        ),
        ([row(0), "{"], "line 2: not JSON"),
        ([], "holds no rows"),
    ],
)
def test_a_file_of_another_kind_is_one_clear_error(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        convert(tmp_path, rows)
    assert not (tmp_path / "train.jsonl").exists()


def test_the_manifest_is_found_in_its_folder(tmp_path):
    with pytest.raises(DataError, match="holds no data.jsonl"):
        find_manifest(tmp_path)
    (tmp_path / "data.jsonl").touch()
    assert find_manifest(tmp_path) == tmp_path / "data.jsonl"
    assert find_manifest(tmp_path / "other.jsonl") == tmp_path / "other.jsonl"
