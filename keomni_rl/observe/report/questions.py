"""Every question of an evaluation, or of two, as data for the page: what was asked, said, judged.

The page's script makes elements of it, a screenful at a time.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keomni_rl.data.prompts import ANSWER, THINK, split_completion
from keomni_rl.evaluation.verdict import chosen_position, extract_answer, string_match
from keomni_rl.observe.report.evaluations import EvaluationRun
from keomni_rl.observe.report.sounds import Sounds
from keomni_rl.rewards.think_length import num_think_words
from keomni_rl.types import Prediction, Question

FAILED, MISSING, CUT, NO_TAGS, NO_CHOICE = "failed", "missing", "cut", "no_tags", "no_choice"
OUTCOMES = {
    "right": "right",
    "wrong": "wrong",
    NO_TAGS: "without answer tags",
    NO_CHOICE: "naming no choice",
    CUT: "cut off",
    FAILED: "failed",
    MISSING: "without a prediction",
}
"""Key of an outcome -> its words; one question can have several."""


@dataclass(frozen=True)
class Answered:
    """A question with what each of one or two evaluations made of it."""

    question: Question
    said: tuple[dict[str, Any], ...]
    """As the page's script takes it."""
    outcomes: tuple[str, ...]
    """Keys, to filter by."""

    @property
    def is_wrong(self) -> bool:
        """Whether any of the evaluations did not answer right."""
        return any(said["verdict"] != "right" for said in self.said)


def answered_questions(runs: Sequence[EvaluationRun]) -> list[Answered]:
    """All questions of one evaluation, or of two on the same questions, in the file's order."""
    right = [run.right for run in runs]
    found = []
    for question in runs[0].questions:
        said = tuple(
            _said(question, run, is_right=question.id in ids if run.is_judged else None)
            for run, ids in zip(runs, right, strict=True)
        )
        outcomes = _paired(said) if len(runs) == 2 else tuple(said[0]["outcomes"])
        found.append(Answered(question, said, outcomes))
    return found


def outcome_counts(
    outcomes: Iterable[Sequence[str]], words: Mapping[str, str]
) -> list[tuple[str, str, int]]:
    """Key, words and number of the outcomes that occur."""
    counts = Counter(key for of_one in outcomes for key in of_one)
    return [(key, text, counts[key]) for key, text in words.items() if counts[key]]


def paired_outcomes(names: tuple[str, str]) -> dict[str, str]:
    """The outcomes of two evaluations, in words."""
    first, second = names
    return {
        "only_first": f"{first} right, {second} wrong",
        "only_second": f"{first} wrong, {second} right",
        "both": "both right",
        "neither": "both wrong",
        "apart": "different choices",
        "unanswered": "failed or without a prediction",
    }


def question_rows(
    questions: Sequence[Answered], clips: Mapping[str, str], sounds: Sounds, audio: str
) -> Iterator[dict[str, Any]]:
    """The data of the page, a question each.

    Args:
        questions: what was asked and said.
        clips: paths of the clips by question id.
        sounds: clips in the page; they are named by their place there.
        audio: which of them were asked for.
    """
    for answered in questions:
        question = answered.question
        gold = (question.answer or "").strip()
        yield {
            "id": question.id,
            "question": question.question,
            "choices": question.choices,
            "gold": [n for n, choice in enumerate(question.choices) if choice.strip() == gold],
            "answer": question.answer,
            "task": question.extra["task"],
            "difficulty": question.extra["difficulty"],
            "sub_category": question.extra["sub-category"],
            **sounds.shown(clips.get(question.id, ""), audio),
            "outcomes": answered.outcomes,
            "said": answered.said,
        }


def _said(question: Question, run: EvaluationRun, *, is_right: bool | None) -> dict[str, Any]:
    prediction = run.predictions.get(question.id)
    if prediction is None:
        is_wrong = is_right is not None and run.is_finished
        return {"verdict": MISSING, "outcomes": ["wrong", MISSING] if is_wrong else [MISSING]}
    think, answer = split_completion(prediction.model_output_raw)
    chosen = chosen_position(prediction.model_output, question.choices)
    is_failed = prediction.error is not None
    flags = {
        FAILED: is_failed,
        CUT: prediction.finish_reason == "length",
        NO_TAGS: not is_failed and _wants_tags(run) and answer is None,
        NO_CHOICE: not is_failed and chosen is None,
    }
    verdict = "said" if is_right is None else "right" if is_right else "wrong"
    judged = [] if is_right is None else [verdict]
    return {
        "verdict": FAILED if is_failed else verdict,
        "outcomes": judged + [key for key, holds in flags.items() if holds],
        "chosen": chosen,
        "think": think,
        "think_words": num_think_words(prediction.model_output_raw),
        "output": prediction.model_output,
        "raw": whole_if_more(prediction.model_output_raw, think, answer, prediction.model_output),
        "tokens": prediction.num_tokens or None,
        "error": prediction.error,
        "samples": _samples(question, prediction),
    }


def _wants_tags(run: EvaluationRun) -> bool:
    return run.summary is not None and run.summary.no_answer is not None


def whole_if_more(whole: str, think: str, answer: str | None, output: str) -> str | None:
    """A completion that holds more than its think and its answer; else None.

    Args:
        whole: its text.
        think: "" without one.
        answer: between its tags, if it has them.
        output: what counts as its answer.
    """
    shown = [f"{THINK[0]}{think}{THINK[1]}"] if think else []
    shown += [output if answer is None else f"{ANSWER[0]}{answer}{ANSWER[1]}"]
    return whole if "".join(whole.split()) != "".join("".join(shown).split()) else None


def _samples(question: Question, prediction: Prediction) -> list[dict[str, Any]]:
    return [
        {
            "text": text,
            "right": question.answer is not None
            and string_match(question.answer, extract_answer(text), question.choices),
        }
        for text in prediction.samples
    ]


def _paired(said: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    first, second = (one["verdict"] == "right" for one in said)
    names = {
        (True, True): "both",
        (True, False): "only_first",
        (False, True): "only_second",
        (False, False): "neither",
    }
    flags = {
        "apart": len({one.get("chosen") for one in said}) == 2,
        "unanswered": any(one["verdict"] in (FAILED, MISSING) for one in said),
    }
    return (names[first, second], *(key for key, holds in flags.items() if holds))
