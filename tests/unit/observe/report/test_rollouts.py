import base64
import gzip
import json

import pytest
from report_folders import write_questions, write_run

from keomni_rl.observe.report.rollouts import (
    GROUPS_PER_PACK,
    OUTCOMES,
    embed_clips,
    group_rows,
    packed_texts,
    read_rollouts,
    scattered,
    spaced,
)
from keomni_rl.observe.report.sounds import Embedding, Sounds


@pytest.fixture
def file(tmp_path):
    return write_questions(tmp_path / "questions", 8)


def completion(text="<answer>a</answer>", *, accuracy=1.0, form=1.0, reason="stop") -> dict:
    return {
        "text": text,
        "reward": 2 * accuracy + form,
        "breakdown": {"accuracy": accuracy, "format": form},
        "advantage": 0.0,
        "finish_reason": reason,
        "num_tokens": len(text),
        "policy_version": [3, 4],
    }


def group(*completions, **fields) -> dict:
    fixed = {"id": "q", "index": 7, "dataset": "d", "question": "?", "audio": "a.wav"}
    texts = {"prompt": "? a or b", "choices": ["a", "b"], "solution": "a"}
    return {"step": 4, **fixed, **texts, "completions": list(completions), **fields}


def row(*completions) -> dict:
    return next(group_rows([group(*completions)], Sounds(), "all"))


def unpacked(pack: str) -> list[dict]:
    return json.loads(gzip.decompress(base64.b64decode(pack)))


def test_groups_are_read_by_step(tmp_path, file):
    folder = write_run(tmp_path / "run", file, 3, [], groups=2)
    for name in ("step_x", "step_000001 copy", "step_"):
        (folder / "rollouts" / f"{name}.jsonl").write_text("nonsense\n")
    kept = read_rollouts(folder)
    assert [(g["step"], g["index"]) for g in kept.groups] == [
        *((1, 0), (1, 1)),
        *((2, 2), (2, 3)),
        *((3, 4), (3, 5)),
    ]
    assert kept.notes == []


def test_more_than_a_page_takes_is_thinned_over_training(tmp_path, file):
    folder = write_run(tmp_path / "run", file, 9, [])
    size = sum(path.stat().st_size for path in (folder / "rollouts").iterdir())
    kept = read_rollouts(folder, max_bytes=size // 2)
    assert [g["step"] for g in kept.groups] == [1, 4, 6, 9]
    assert "Rollouts of 4 of 9 steps are in this page" in kept.notes[0]
    assert [g["step"] for g in read_rollouts(folder, max_bytes=1).groups] == [1, 9]


def test_a_run_without_rollouts_keeps_none(tmp_path):
    assert read_rollouts(tmp_path).groups == []


def test_a_row_has_what_the_list_orders_and_filters_by():
    found = row(completion(), completion(accuracy=0.0, text="long", reason="length"))
    assert (found["step"], found["index"], found["dataset"]) == (4, 7, "d")
    assert (found["mean"], found["spread"]) == (2.0, pytest.approx(2**0.5))
    assert found["right"] == [True, False]
    assert found["tokens"] == len("<answer>a</answer>")
    assert found["outcomes"] == ["wrong", "mixed", "cut"]


@pytest.mark.parametrize(
    ("completions", "outcomes"),
    [
        ([completion(), completion()], ["all_right", "equal"]),
        ([completion(accuracy=0.0)] * 2, ["wrong", "all_wrong", "equal"]),
        ([completion(), completion(form=0.0)], ["all_right", "no_format"]),
        ([completion() | {"breakdown": {"own": 0.0}}] * 2, ["equal"]),
    ],
)
def test_what_a_group_came_to(completions, outcomes):
    assert row(*completions)["outcomes"] == outcomes
    assert set(outcomes) <= set(OUTCOMES)


def test_only_a_reward_named_accuracy_tells_right_from_wrong():
    assert row(completion() | {"breakdown": {"own": 1.0}})["right"] == [None]


def test_texts_come_in_packs_as_they_were_said():
    nasty = "</script><think>hm</think> \ud800"
    groups = [group(completion(nasty), id=str(n)) for n in range(GROUPS_PER_PACK + 1)]
    packs = [unpacked(pack) for pack in packed_texts(groups)]
    assert [len(pack) for pack in packs] == [GROUPS_PER_PACK, 1]
    said = packs[1][0]["completions"][0]
    assert (said["think"], said["answer"], said["raw"]) == ("hm", nasty, nasty)
    assert (said["versions"], said["cut"], said["right"]) == ([3, 4], False, True)
    plain = unpacked(next(packed_texts([group(completion())])))[0]["completions"][0]
    assert (plain["think"], plain["answer"], plain["raw"]) == ("", "a", None)


def test_clips_of_wrong_answers_come_first(tmp_path):
    paths = [str(tmp_path / f"{n}.wav") for n in range(3)]
    right, wrong = group(completion()), group(completion(accuracy=0.0))
    groups = [right | {"audio": paths[0]}, wrong | {"audio": paths[1]}, right | {"audio": paths[2]}]
    asked = {
        audio: list(embed_clips(groups, Embedding(audio)).problems)
        for audio in ("all", "wrong", "none")
    }
    assert asked == {"all": [paths[1], paths[0], paths[2]], "wrong": [paths[1]], "none": []}


def test_spaced_takes_both_ends():
    assert spaced(range(5), 5) == [0, 1, 2, 3, 4]
    assert spaced(range(101), 5) == [0, 25, 50, 75, 100]


def test_every_beginning_of_a_scattered_order_is_spread():
    assert scattered(range(8)) == [0, 4, 2, 6, 1, 5, 3, 7]
    assert scattered(range(6)) == [0, 4, 2, 1, 5, 3]
    assert (scattered([]), scattered(["a"])) == ([], ["a"])
