from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.data.prepare.selection import Fate, Selection, Staged, choose
from keomni_rl.errors import DataError


def questions(clips: list[int]) -> list[Staged]:
    return [Staged(n, f"q{n}", f"{clip}.wav", "", 1) for n, clip in enumerate(clips, start=1)]


def kept(staged: list[Staged], selection: Selection, fate: Fate = Fate.TRAIN) -> set[str]:
    return {q.id for q, f in zip(staged, choose(staged, selection)) if f is fate}


def test_a_sample_has_its_size_and_depends_on_the_seed_alone():
    staged = questions(list(range(100)))
    sample = kept(staged, Selection(sample=20, seed=1))
    assert len(sample) == 20
    assert kept(Random(0).sample(staged, 100), Selection(sample=20, seed=1)) == sample
    assert kept(staged, Selection(sample=20, seed=2)) != sample
    assert sample < kept(staged, Selection(sample=40, seed=1))  # a smaller one is part of a larger


def test_a_sample_is_fair():
    staged = questions(list(range(50)))
    counts = Counter(
        i for seed in range(400) for i in kept(staged, Selection(sample=10, seed=seed))
    )
    assert all(45 < counts[q.id] < 120 for q in staged)  # 80 expected


@given(st.lists(st.integers(0, 20), min_size=2, max_size=60), st.integers(1, 20), st.integers())
def test_a_held_out_clip_is_not_trained_on(clips, heldout, seed):
    staged = questions([*clips, *range(100, 120)])  # twenty clips more than can be held out
    fates = choose(staged, Selection(heldout=heldout, seed=seed))
    held = {q.audio for q, fate in zip(staged, fates) if fate is Fate.HELDOUT}
    assert fates.count(Fate.HELDOUT) == heldout
    assert not held & {q.audio for q, fate in zip(staged, fates) if fate is Fate.TRAIN}
    assert {q.audio for q, f in zip(staged, fates) if f is Fate.CLIP_HELDOUT} <= held


def test_at_most_one_clip_loses_questions_to_the_held_out_slice():
    staged = questions([n // 3 for n in range(90)])  # three questions a clip
    fates = choose(staged, Selection(heldout=10, seed=5))
    assert fates.count(Fate.CLIP_HELDOUT) == 2
    assert fates.count(Fate.TRAIN) == 78


def test_dropped_clips_are_in_no_part():
    staged = questions([1, 2, 3, 1])
    fates = choose(staged, Selection(sample=1), {"1.wav", "2.wav"})
    assert fates == [Fate.OVERLAP, Fate.OVERLAP, Fate.TRAIN, Fate.OVERLAP]


def test_more_than_there_is_cannot_be_had():
    staged = questions([1, 2, 3])
    with pytest.raises(DataError, match="--sample 4: only 3 questions"):
        choose(staged, Selection(sample=4))
    with pytest.raises(DataError, match="--heldout 3: 3 questions on 3 clips leave none"):
        choose(staged, Selection(heldout=3))
    with pytest.raises(DataError, match="--sample 2: only 1 questions"):
        choose(staged, Selection(sample=2, heldout=2))
