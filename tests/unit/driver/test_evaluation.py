"""When a run evaluates, and what of it goes to its metrics."""

import pytest

from keomni_rl.config import RunConfig, load_config
from keomni_rl.driver.evaluation import Evaluation, read_evaluations
from keomni_rl.driver.run import Run
from keomni_rl.evaluation.summary import summarise, write_summary
from keomni_rl.types import Prediction, Question

NO_ACTORS = dict.fromkeys(("learner", "rollouts", "writer", "evaluators", "audio", "scoring"))


def question(name: str, task: str) -> Question:
    extra = {"task": task, "difficulty": "easy"}
    return Question(
        id=name, question="?", choices=("dog", "cat"), answer="dog", audio="", extra=extra
    )


QUESTIONS = [question("a", "sound"), question("b", "music"), question("c", "music")]


def write_evaluation(run_dir, step: int, right: str) -> None:
    said = {
        q.id: Prediction(
            id=q.id,
            model_output="dog" if q.id in right else "cat",
            model_output_raw="<answer>dog</answer>",
            finish_reason="stop",
        )
        for q in QUESTIONS
    }
    summary = summarise(
        QUESTIONS,
        said,
        think=False,
        mmau_version="custom",
        policy_version=step,
        temperature=0.0,
    )
    folder = run_dir / "evaluation" / f"step_{step:06d}"
    folder.mkdir(parents=True)
    write_summary(folder / "summary.json", summary)


@pytest.fixture
def evaluation(tmp_path):
    """Of a run of 7 steps that has been evaluated before it and after 3 of them."""
    words = [f"run_dir={tmp_path}", "model.path=m", "data.train=[t.jsonl]", "train.max_steps=7"]
    config = load_config(RunConfig, [*words, "evaluation={file: e.json, every_steps: 3}"])
    write_evaluation(tmp_path, 0, "")
    write_evaluation(tmp_path, 3, "ab")
    return Evaluation(Run(config=config, id="run", **NO_ACTORS), config.evaluation, QUESTIONS)


def test_a_resumed_run_has_the_figures_of_every_evaluation_once(evaluation, tmp_path):
    assert evaluation.take_finished() == {
        0: {
            "evaluation/accuracy": 0.0,
            "evaluation/format": 1.0,
            "evaluation/sound_accuracy": 0.0,
            "evaluation/music_accuracy": 0.0,
        },
        3: {
            "evaluation/accuracy": pytest.approx(2 / 3),
            "evaluation/format": 1.0,
            "evaluation/sound_accuracy": 1.0,
            "evaluation/music_accuracy": 0.5,
        },
    }
    assert evaluation.take_finished() == {}
    assert [summary.policy_version for summary in read_evaluations(tmp_path)] == [0, 3]


def test_the_end_is_evaluated_and_nothing_twice(evaluation):
    assert [step for step in range(8) if evaluation.is_due(step)] == [6, 7]
