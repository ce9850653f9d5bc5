from collections import Counter
from pathlib import Path

import pytest

from keomni_rl.config.schema import DataConfig, Source
from keomni_rl.data.stream import BLOCK, PromptStream
from keomni_rl.errors import ConfigError
from keomni_rl.types import Prompt
from tests.unit.data.test_questions import GOOD, write


def file(tmp_path: Path, name: str, count: int) -> Path:
    return write(tmp_path / f"{name}.jsonl", *(GOOD | {"id": f"{name}{n}"} for n in range(count)))


def stream(*sources: Source, seed: int = 3) -> PromptStream:
    return PromptStream(sources, lambda q, _: Prompt(question=q, text=q.question), seed=seed)


def ids(prompts: PromptStream, *positions: int) -> list[str]:
    return [prompts[position].id for position in positions]


@pytest.fixture
def ten(tmp_path) -> Source:
    return Source(file=file(tmp_path, "q", 10))


def test_an_epoch_has_every_question_once_and_the_next_another_order(ten):
    prompts = stream(ten)
    first, second = ids(prompts, *range(10)), ids(prompts, *range(10, 20))
    assert sorted(first) == sorted(second) == sorted(f"q{n}" for n in range(10))
    assert first != second


def test_a_position_gives_the_same_prompt_whenever_it_is_asked(ten):
    asked = (25, 3, 14, 25, 0)
    assert [ids(stream(ten), i)[0] for i in asked] == ids(stream(ten), *asked)
    assert ids(stream(ten, seed=4), *range(10)) != ids(stream(ten), *range(10))


def test_counts_take_a_fixed_subset_of_each_file(tmp_path):
    sources = [Source(file=file(tmp_path, n, 50), count=c) for n, c in (("a", 5), ("b", 20))]
    prompts = stream(*sources)
    assert prompts.num_questions == 25
    first, second = ids(prompts, *range(25)), ids(prompts, *range(25, 50))
    assert sorted(first) == sorted(second)
    assert Counter(i[0] for i in first) == {"a": 5, "b": 20}
    assert {prompts.rendered(n).id for n in range(25)} == set(first)


def test_all_texts_come_with_the_numbers_of_their_prompts(tmp_path):
    sources = [
        Source(file=file(tmp_path, name, 30), count=count)
        for name, count in (("a", 5), ("b", None))
    ]
    prompts = PromptStream(
        sources, lambda q, _: Prompt(question=q, text=f"{q.id} {q.choices} {q.extra}"), seed=3
    )
    texts = dict(prompts.texts())
    assert sorted(texts) == list(range(35))
    assert all(prompts.rendered(number).text == text for number, text in texts.items())


@pytest.mark.parametrize(
    ("weights", "shares"), [((1, 3), (250, 750)), ((1, 1, 1), (334, 333, 333))]
)
def test_weights_hold_exactly_over_a_block(tmp_path, weights, shares):
    sources = [
        Source(file=file(tmp_path, name, 7), weight=weight) for name, weight in zip("abc", weights)
    ]
    prompts = stream(*sources)
    for block in (0, 1, 5):
        seen = Counter(i[0] for i in ids(prompts, *range(block * BLOCK, (block + 1) * BLOCK)))
        assert tuple(seen[name] for name in "abc" if name in seen) == shares


def test_a_weighted_file_is_dealt_out_before_it_is_shuffled_again(tmp_path):
    small, large = file(tmp_path, "a", 3), file(tmp_path, "b", 2000)
    prompts = stream(Source(file=small, weight=0.3), Source(file=large, weight=0.7))
    order = ids(prompts, *range(2 * BLOCK))
    of_small = [i for i in order if i[0] == "a"]
    assert all(len(set(of_small[n : n + 3])) == 3 for n in range(0, 600, 3))
    of_large = [i for i in order if i[0] == "b"]
    assert len(of_large) == len(set(of_large)) == 1400
    resumed = stream(Source(file=small, weight=0.3), Source(file=large, weight=0.7))
    assert ids(resumed, *range(1500, 1520)) == order[1500:1520]


def test_what_cannot_be_dealt_is_refused(tmp_path, ten):
    with pytest.raises(ConfigError, match="count 11 of .*q.jsonl, which holds 10 questions"):
        stream(ten.model_copy(update={"count": 11}))
    rare = Source(file=file(tmp_path, "r", 2), weight=1e-5)
    with pytest.raises(ConfigError, match="weight 1e-05 of .* is under one prompt in 1000"):
        stream(rare, ten.model_copy(update={"weight": 1.0}))


def test_a_file_may_be_named_by_its_path_alone():
    config = DataConfig.model_validate({"train": ["a.jsonl", {"file": "b.jsonl", "count": 5}]})
    assert [(s.file.name, s.count) for s in config.train] == [("a.jsonl", None), ("b.jsonl", 5)]
    with pytest.raises(ValueError, match="give every file a weight, or none"):
        DataConfig.model_validate({"train": ["a.jsonl", {"file": "b.jsonl", "weight": 1}]})


def test_questions_used_are_counted_once_by_file_and_data_set(tmp_path):
    rows = [GOOD | {"id": f"q{n}", "dataset": "AVQA" if n % 2 else None} for n in range(10)]
    mixed = Source(file=write(tmp_path / "mixed.jsonl", *rows), weight=3)
    plain = Source(file=file(tmp_path, "a", 50), weight=1)
    prompts = stream(mixed, plain)
    positions = [*range(30), 33, 35]
    drawn = {prompts[position].id for position in positions}
    used = prompts.used(positions)
    assert used.total() == len(drawn)
    own = GOOD.get("dataset") or ""
    assert used[plain.file, own] == sum(i.startswith("a") for i in drawn)
    assert used[mixed.file, "AVQA"] == sum(i in {"q1", "q3", "q5", "q7", "q9"} for i in drawn)
    assert prompts.used([]).total() == 0
