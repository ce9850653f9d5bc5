import json
from collections import Counter

import numpy as np
import pytest
import soundfile

from keomni_rl.data.mmau import read_mmau
from keomni_rl.data.questions import QuestionFile
from keomni_rl.data.sounds import SYNTHS
from keomni_rl.data.synthetic import KINDS, generate
from keomni_rl.data.teacher import WeakTeacher


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("s") / "set", num_train=160, num_heldout=80, seed=1)


@pytest.fixture(scope="module")
def train(files):
    questions = QuestionFile(files.train)
    return [questions[i] for i in range(len(questions))]


def test_every_label_can_sound_and_every_kind_is_asked():
    assert SYNTHS.keys() == KINDS.keys()
    assert {kind.task for kind in KINDS.values()} == {"sound", "music", "speech"}


def test_files_differ_in_rate_channels_length_and_format(train):
    infos = [soundfile.info(q.audio) for q in train]
    assert {i.samplerate for i in infos} == {8_000, 16_000, 22_050, 44_100, 48_000}
    assert {i.channels for i in infos} == {1, 2}
    assert {i.format for i in infos} == {"WAV", "FLAC"}
    assert all(0.49 <= i.duration <= 4 for i in infos)
    assert max(i.duration for i in infos) > 3


def test_answers_are_offered_in_any_place(train):
    places = Counter(q.choices.index(q.answer) for q in train)
    assert set(places) == {0, 1, 2, 3}
    assert all(2 <= len(q.choices) <= 4 for q in train)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(files, tmp_path):
    again = generate(tmp_path / "b", num_train=8, num_heldout=2, seed=1)
    other = generate(tmp_path / "c", num_train=8, num_heldout=2, seed=2)
    lines = files.train.read_text().splitlines()
    assert again.train.read_text().splitlines() == lines[:8]  # and a smaller set is a beginning
    assert other.train.read_text().splitlines() != lines[:8]
    name = json.loads(lines[5])["audio"]
    assert (again.train.parent / name).read_bytes() == (files.train.parent / name).read_bytes()


def test_no_clip_is_in_both_sets(files, train):
    def sound(path):
        return soundfile.read(path)[0].tobytes()

    assert not {sound(q.audio) for q in train} & {sound(q.audio) for q in read_mmau(files.heldout)}


def test_clips_of_one_label_are_not_alike(train):
    same = [q for q in train if q.answer == train[0].answer]
    sounds = [soundfile.read(q.audio, always_2d=True)[0][:4_000, 0] for q in same]
    assert len({s.tobytes() for s in sounds}) == len(sounds)


def test_a_second_call_makes_nothing(files):
    before = files.train.stat().st_mtime_ns
    assert generate(files.train.parent, num_train=160, num_heldout=80, seed=1) == files
    assert files.train.stat().st_mtime_ns == before


def test_the_teacher_is_right_about_half_the_time_and_keeps_the_form(train):
    teacher = WeakTeacher(seed=0)
    answers = [(q, teacher.answer(q)) for q in train for _ in range(20)]
    right = np.mean([f"<answer>{q.answer}</answer>" in a for q, a in answers])
    assert 0.4 < right < 0.62
    assert all(a.startswith("<think>") and a.endswith("</answer>") for _, a in answers)
