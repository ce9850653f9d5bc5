"""The official report against an oracle written from the script's description alone."""

import random

import pytest

from keomni_rl.errors import DataError
from keomni_rl.evaluation.official import official_report
from keomni_rl.evaluation.records import Record
from keomni_rl.evaluation.summary import summarise
from keomni_rl.types import Prediction, Question

WORDS = [
    *("dog", "cat", "a", "A", "the", "C", "F#", "major", "minor", "3/4", "4/4", "1.63", "2.74"),
    *("seconds", "twenty-two", "two", "It's", "It\u2019s", "ice_cream", "Caf\u00e9", "neutral,"),
    *("frustration", "first:", "second:", "\u5927\u58f0", "(B)", "no", "noise", "-", "#", "joy"),
]
TASKS = ("music", "speech", "sound")
DIFFICULTIES = ("medium", "hard", "easy")


def made_record(n: int, random: random.Random) -> dict:
    """A row with MMAU's anomalies: repeated choices, stray spaces, list categories, 2 to 8 choices."""
    size = random.choice([2, 4, 4, 4, 5, 8])
    choices = [" ".join(random.choices(WORDS, k=random.randint(1, 4))) for _ in range(size)]
    if random.random() < 0.2:
        choices[-1] = random.choice(choices)
    if random.random() < 0.2:
        choices[0] = random.choice([f" {choices[0]}", f"{choices[0]} ", f"{choices[0]}\t"])
    if random.random() < 0.2:  # the same words in another order
        words = choices[0].split()
        random.shuffle(words)
        choices[1] = " ".join(words)
    return {
        "id": f"q{n}",
        "audio_id": f"./test-mini-audios/q{n}.wav",
        "question": "Which?",
        "choices": choices,
        "answer": random.choice(choices),
        "task": random.choice(TASKS),
        "difficulty": random.choice(DIFFICULTIES),
        "category": random.choice(["Reasoning", ["Reasoning"]]),
        "sub-category": random.choice(["Counting", "Key highlight Extraction", "Lyrics", "Tempo"]),
    }


def said(record: dict, random: random.Random) -> str:
    answer, other = record["answer"], random.choice(record["choices"])
    words = answer.split()
    random.shuffle(words)
    return random.choice(
        [
            answer,
            other,
            "",
            "   ",
            "?!",
            f"({random.choice('ABCD')}) {answer}",
            f"I think that it is {answer}.",
            f"{answer}, not {other}",
            " ".join(words),
            answer.upper(),
            answer[: len(answer) // 2],
            f"<think>{other}</think><answer>{answer}</answer>",
            str(record["choices"]),
        ]
    )


def tokens(text: str) -> set[str]:
    """Longest runs of letters, digits and underscores, in lower case."""
    spaced = "".join(c if c.isalnum() or c == "_" else " " for c in text.lower())
    return {run for run in spaced.split(" ") if run}


def oracle_verdict(answer: str, prediction: str, choices: list[str]) -> bool:
    spoken, gold = tokens(prediction), tokens(answer)
    if not spoken or not all(token in spoken for token in gold):
        return False
    for choice in map(tokens, choices):
        if choice != gold and any(token in spoken and token not in gold for token in choice):
            return False
    return True


def oracle_report(records: list[dict], key: str) -> str:
    judged = [(r, oracle_verdict(r["answer"], r[key], r["choices"])) for r in records if key in r]

    def line(name: str, mark: str, rows: list[bool]) -> str:
        percent = sum(rows) / len(rows) * 100 if rows else 0
        return f"{name}{mark}{percent:.2f}% over {len(rows)} samples"

    lines = []
    for title, field, values in (
        ("Task", "task", ["sound", "music", "speech"]),
        ("Difficulty", "difficulty", ["easy", "hard", "medium"]),
        ("Sub-category", "sub-category", list(dict.fromkeys(r["sub-category"] for r, _ in judged))),
    ):
        lines += ["*" * 30, f"{title}-wise Accuracy:"]
        lines += [line(v, " : ", [ok for r, ok in judged if r[field] == v]) for v in values]
    lines += ["*" * 30, line("Total Accuracy", ": ", [ok for _, ok in judged])]
    return "\n".join([*lines, "*" * 30, "No prediction count: 0"])


def as_records(rows: list[dict]) -> list[Record]:
    return [Record(f"entry {n}", row) for n, row in enumerate(rows, start=1)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("key", ["model_output", "model_prediction"])
def test_every_figure_is_the_oracles(seed, key):
    source = random.Random(seed)
    rows = [made_record(n, source) for n in range(150)]
    rows = [r | {key: said(r, source)} if source.random() < 0.9 else r for r in rows]
    assert official_report(as_records(rows), key) == oracle_report(rows, key)


def test_the_summarys_verdicts_are_the_same_once_nothing_is_missing():
    source = random.Random(0)
    rows = [made_record(n, source) for n in range(300)]
    texts = [said(r, source) for r in rows]
    verdicts = [oracle_verdict(r["answer"], t, r["choices"]) for r, t in zip(rows, texts)]
    questions = [
        Question(
            id=r["id"],
            question=r["question"],
            choices=tuple(r["choices"]),
            answer=r["answer"],
            audio="",
            extra={k: r[k] for k in ("task", "difficulty", "sub-category")},
        )
        for r in rows
    ]
    summary = summarise(
        questions,
        {
            r["id"]: Prediction(id=r["id"], model_output=t, model_output_raw=t, finish_reason="")
            for r, t in zip(rows, texts)
        },
        think=False,
        mmau_version="custom",
        policy_version=None,
        temperature=None,
    )
    assert 0.1 < summary.accuracy < 0.9
    assert summary.accuracy == pytest.approx(sum(verdicts) / 300)
    for field, shares in (
        ("task", summary.by_task),
        ("difficulty", summary.by_difficulty),
        ("sub-category", summary.by_sub_category),
    ):
        for value, share in shares.items():
            rights = [ok for r, ok in zip(rows, verdicts) if r[field] == value]
            assert (share.n, share.accuracy) == (len(rights), pytest.approx(sum(rights) / share.n))


ROW = {
    "id": "a",
    "choices": ["dog", "cat"],
    "answer": "dog",
    "task": "music",
    "difficulty": "hard",
    "sub-category": "Counting",
    "model_output": "a dog",
}


def test_the_layout_to_the_letter():
    bare = {k: v for k, v in ROW.items() if k != "sub-category"}
    without = {k: v for k, v in ROW.items() if k != "model_output"}
    rows = [bare, ROW | {"model_output": "cat", "task": "sound"}, bare, without]
    assert official_report(as_records(rows), "model_output") == (
        "******************************\n"
        "Task-wise Accuracy:\n"
        "sound : 0.00% over 1 samples\n"
        "music : 100.00% over 2 samples\n"
        "speech : 0.00% over 0 samples\n"
        "******************************\n"
        "Difficulty-wise Accuracy:\n"
        "easy : 0.00% over 0 samples\n"
        "hard : 66.67% over 3 samples\n"
        "medium : 0.00% over 0 samples\n"
        "******************************\n"
        "Sub-category-wise Accuracy:\n"
        "Counting : 0.00% over 1 samples\n"
        "******************************\n"
        "Total Accuracy: 66.67% over 3 samples\n"
        "******************************\n"
        "No prediction count: 0"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "smell"}, "entry 1: task 'smell'; MMAU has sound, music, speech"),
        ({"difficulty": ["hard"]}, r"entry 1: difficulty \['hard'\]; MMAU has easy, hard, medium"),
        ({"model_output": None}, "entry 1: 'model_output' is None"),
        ({"answer": 3}, "entry 1: 'answer' is 3"),
        ({"choices": "dog, cat"}, "entry 1: 'choices' is 'dog, cat'"),
    ],
)
def test_what_would_crash_the_script_is_named(change, message):
    with pytest.raises(DataError, match=message):
        official_report(as_records([ROW | change]), "model_output")


def test_no_predictions_at_all_are_an_error():
    with pytest.raises(DataError, match="no entry has a 'model_prediction'"):
        official_report(as_records([ROW]), "model_prediction")
