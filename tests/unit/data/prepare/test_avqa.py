import json
from pathlib import Path

import pytest

from keomni_rl.data.prepare.avqa import KIND_KEY, clip_names, convert_avqa
from keomni_rl.data.prepare.question_writer import QuestionWriter
from keomni_rl.data.prepare.selection import Selection
from keomni_rl.data.questions import QuestionFile
from keomni_rl.errors import DataError

ALL = Selection()
GOOD = {
    "id": 184,
    "video_name": "-HIPq7T3eFI_000011",
    "video_id": 342,
    "question_text": "What is the main source of sound in the video?",
    "multi_choice": ["Car", "motorcycle", "siren", "gun fire"],
    "answer": 2,
    "question_relation": "Both",
    "question_type": "Come From",
}


def convert(folder: Path, rows: object, *, selection: Selection = ALL, **how):
    (folder / "wavs").mkdir(exist_ok=True)
    (folder / "wavs" / "-HIPq7T3eFI_000011.wav").write_bytes(b"RIFF")
    raw = folder / "train_qa.json"
    raw.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    out = folder / "avqa.jsonl"
    with QuestionWriter(out, audio=folder / "wavs", raw=raw, kind_key=KIND_KEY) as writer:
        convert_avqa(raw, writer, **how)
        return writer.finish(selection)


def skipped(folder: Path) -> list[tuple[int, str]]:
    listed = map(json.loads, (folder / "avqa.skipped.jsonl").read_text().splitlines())
    return [(row["row"], row["reason"]) for row in listed]


def test_a_question_of_avqa(tmp_path):
    convert(tmp_path, [GOOD])
    assert json.loads((tmp_path / "avqa.jsonl").read_text()) == {
        "id": "avqa_184",
        "question": "What is the main source of sound in the audio?",
        "choices": ["Car", "motorcycle", "siren", "gun fire"],
        "answer": "siren",
        "audio": "wavs/-HIPq7T3eFI_000011.wav",
        "dataset": "AVQA",
        "video_name": "-HIPq7T3eFI_000011",
        "video_id": 342,
        "question_text": "What is the main source of sound in the video?",
        "question_relation": "Both",
        "question_type": "Come From",
    }
    assert QuestionFile(tmp_path / "avqa.jsonl")[0].answer == "siren"


def test_questions_for_the_eyes_are_skipped_unless_all_are_wanted(tmp_path):
    rows = [
        GOOD | {"id": 1, "question_relation": "View"},
        GOOD | {"id": 2, "question_text": "What color is the car?"},
        GOOD | {"id": 3, "question_text": "Colour of the horse?"},
        GOOD | {"id": 4, "question_relation": "Sound", "question_text": "Which sound?"},
        GOOD
        | {"id": 5, "question_text": "What happens in the video?", "question_relation": " view"},
        GOOD | {"id": 6, "question_text": "Which multicolored bird?"},
    ]
    written = convert(tmp_path, rows)
    assert written.reasons == {"about colour": 3, "view only": 2}
    assert skipped(tmp_path) == [
        (1, "view only"),
        (2, "about colour"),
        (3, "about colour"),
        (5, "view only"),
        (6, "about colour"),
    ]
    assert convert(tmp_path, rows, all_relations=True).num_train == 6
    assert skipped(tmp_path) == []


def test_only_lower_case_video_becomes_audio_as_in_both_seeds(tmp_path):
    convert(tmp_path, [GOOD | {"question_text": "Video: are videos of a video?"}])
    assert QuestionFile(tmp_path / "avqa.jsonl")[0].question == "Video: are audios of a audio?"


def test_clips_are_found_under_both_habits_and_other_formats(tmp_path):
    (tmp_path / "wavs").mkdir()
    for name in ("-HG3Omg_89c_30.wav", "a_b_000007.flac", "plain.mp3", "z_000000.wav", "z_0.wav"):
        (tmp_path / "wavs" / name).write_bytes(b"RIFF")
    names = ["-HG3Omg_89c_000030", "a_b_7", "plain", "z_000000", "gone_000001"]
    rows = [GOOD | {"id": n, "video_name": name} for n, name in enumerate(names)]
    written = convert(tmp_path, rows)
    questions = QuestionFile(tmp_path / "avqa.jsonl")
    assert [Path(questions[i].audio).name for i in range(4)] == [
        "-HG3Omg_89c_30.wav",
        "a_b_000007.flac",
        "plain.mp3",
        "z_000000.wav",
    ]
    assert written.reasons == {"audio missing": 1}


def test_the_names_that_are_tried():
    names = clip_names("-HG3Omg_89c_000030")
    assert names[0] == "-HG3Omg_89c_000030.wav"
    assert names.index("-HG3Omg_89c_000030.mp3") < names.index("-HG3Omg_89c_30.wav")
    assert len(names) == 10
    assert "x_000005.wav" in clip_names("x_5")
    assert clip_names("no-start") == [
        f"no-start{s}" for s in (".wav", ".flac", ".mp3", ".ogg", ".opus")
    ]


MALFORMED = [
    ({"answer": 4}, "malformed"),
    ({"answer": -1}, "malformed"),
    ({"answer": True}, "malformed"),
    ({"answer": "siren"}, "malformed"),
    ({"answer": None}, "malformed"),
    ({"multi_choice": "Car"}, "malformed"),
    ({"multi_choice": ["Car"]}, "malformed"),
    ({"multi_choice": ["Car", None, "b", "c"]}, "malformed"),
    ({"multi_choice": ["Car", " ", "b", "c"]}, "malformed"),
    ({"multi_choice": ["Car", "Car ", "b", "c"]}, "equal choices"),
    ({"question_text": ""}, "malformed"),
    ({"question_text": None}, "malformed"),
    ({"question_relation": None}, "malformed"),
    ({"video_name": 7}, "malformed"),
    ({"video_name": "../../etc/passwd"}, "audio missing"),
    ({"id": None}, "malformed"),
    ({"id": True}, "malformed"),
    ({"id": " "}, "malformed"),
    ({"id": 1.5}, "malformed"),
    ({"question_text": "Hear <|AUDIO|>?"}, "reserved text"),
]


@pytest.mark.parametrize(("change", "reason"), MALFORMED, ids=[str(c) for c, _ in MALFORMED])
def test_a_malformed_entry_is_counted_and_listed(tmp_path, change, reason):
    written = convert(tmp_path, [GOOD, GOOD | {"id": 7} | change, None])
    assert written.num_train == 1
    assert skipped(tmp_path) == [(2, reason), (3, "malformed")]


def test_numbers_as_options_become_text(tmp_path):
    convert(tmp_path, [GOOD | {"multi_choice": [1, 2, "3", 2.5]}])
    assert QuestionFile(tmp_path / "avqa.jsonl")[0].choices == ("1", "2", "3", "2.5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "wanted AVQA's file, a JSON array"),
        ("[]", "a JSON array of one or more rows"),
        ("[1]", "wanted an array of objects"),
        (json.dumps(GOOD) + "\n" + json.dumps(GOOD), "not JSON .*Extra data: line 2"),
        ("[" * 100_000, "not JSON"),
        (
            json.dumps([{k: v for k, v in GOOD.items() if k != "multi_choice"}]),
            "entry 1: no 'multi_choice'",
        ),
        (
            json.dumps([{k: v for k, v in GOOD.items() if k != "question_relation"}]),
            "entry 1: no 'question_relation'",
        ),
        (
            json.dumps([GOOD | {"question_relation": "View"}]),
            r"no row becomes a question: view only \(1\)",
        ),
        (
            json.dumps([GOOD | {"video_name": "x_000001"}]),
            "no audio found in .*wavs; for example looked for x_000001.wav, .*x_1.wav",
        ),
    ],
)
def test_a_file_of_another_kind_is_one_clear_error(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        convert(tmp_path, content)
    assert not (tmp_path / "avqa.jsonl").exists()


def test_missing_relation_does_not_matter_when_all_are_wanted(tmp_path):
    row = {k: v for k, v in GOOD.items() if k != "question_relation"}
    assert convert(tmp_path, [row], all_relations=True).num_train == 1


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / "wavs").mkdir()
    with (
        pytest.raises(DataError, match="none.json: cannot be read \\(No such file"),
        QuestionWriter(
            tmp_path / "q.jsonl", audio=tmp_path / "wavs", raw=tmp_path / "none.json", kind_key=""
        ) as writer,
    ):
        convert_avqa(tmp_path / "none.json", writer)


def test_a_sample_is_in_order_and_the_same_each_time(tmp_path):
    rows = [GOOD | {"id": n, "question_text": f"Sound {n}?"} for n in range(50)]
    first = convert(tmp_path, rows, selection=Selection(sample=10, seed=3))
    text = first.train.read_bytes()
    ids = [int(json.loads(line)["id"].removeprefix("avqa_")) for line in text.splitlines()]
    assert len(ids) == 10
    assert ids == sorted(ids)
    assert first.reasons == {"not in the sample": 40}
    assert (
        convert(tmp_path, rows, selection=Selection(sample=10, seed=3)).train.read_bytes() == text
    )
    assert (
        convert(tmp_path, rows, selection=Selection(sample=10, seed=4)).train.read_bytes() != text
    )
