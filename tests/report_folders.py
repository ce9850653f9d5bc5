"""Folders as training and evaluation leave them, written by the product's own functions."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from keomni_rl.config import EvaluateConfig, RunConfig, load_config, to_yaml
from keomni_rl.data.mmau import find_version, read_mmau, write_predictions
from keomni_rl.data.synthetic import generate
from keomni_rl.evaluation.summary import summarise, write_summary
from keomni_rl.evaluation.verdict import extract_answer
from keomni_rl.observe.sinks import MetricsWriter, write_event, write_rollouts
from keomni_rl.types import (
    Completion,
    FinishReason,
    Group,
    GroupKey,
    Prediction,
    Prompt,
    Question,
    Reward,
    RolloutGroup,
)

Answer = Callable[[int, Question], str | Prediction | None]
"""(number, question) -> a completion, or more of a prediction, or none."""


def write_questions(folder: Path, number: int, clips: int = 24, *, answers: bool = True) -> Path:
    """A file in MMAU's form: so many questions on a few generated clips."""
    made = generate(folder, num_train=0, num_heldout=min(number, clips), seed=0).heldout
    rows = json.loads(made.read_text())
    rows = [rows[n % len(rows)] | {"id": f"q-{n:05d}"} for n in range(number)]
    for row in rows if not answers else ():
        row["answer"] = None
    path = folder / f"{number}-{answers}.json"
    path.write_text(json.dumps(rows))
    return path


def right_every(number: int) -> Answer:
    """Answers right but for each question whose number this divides."""

    def answer(n: int, question: Question) -> str:
        right = question.answer or question.choices[0]
        wrong = next(choice for choice in question.choices if choice != right)
        return thought(wrong if (n * 7919) % 1009 % number == 0 else right)

    return answer


def thought(answer: str) -> str:
    """A completion in the asked form."""
    return f"<think>It sounds as {answer} would.</think><answer>{answer}</answer>"


def write_evaluation(
    folder: Path, file: Path, answer: Answer, *words: str, is_finished: bool = True
) -> Path:
    """The folder of ``keomni-rl evaluate`` on the questions of ``file``."""
    folder.mkdir(parents=True)
    fixed = [f"run_dir={folder}", f"evaluation.file={file}", "model.path=models/tiny"]
    config = load_config(EvaluateConfig, [*fixed, *words])
    (folder / "config.yaml").write_text(to_yaml(config))
    _answer(folder, config, answer, version=None, is_finished=is_finished)
    return folder


def write_run(
    folder: Path,
    file: Path,
    steps: int,
    answers: Sequence[Answer],
    *words: str,
    done: int | None = None,
    groups: int = 1,
) -> Path:
    """The folder of ``keomni-rl train``.

    Args:
        folder: to make.
        file: questions to train on and to evaluate.
        steps: of the whole run.
        answers: an evaluation for each, first to last.
        words: of the configuration.
        done: steps done so far, of a run that is not at its end.
        groups: kept of each step.
    """
    folder.mkdir(parents=True)
    fixed = [f"run_dir={folder}", f"evaluation.file={file}", "model.path=models/tiny"]
    fixed += [f"data.train=[{file}]", f"train.max_steps={steps}"]
    config = load_config(RunConfig, [*fixed, *words])
    (folder / "config.yaml").write_text(to_yaml(config))
    write_event(folder, "start", step=0)
    _write_metrics(folder, config, steps, steps if done is None else done)
    if config.algo.kind == "grpo":
        questions = read_mmau(file)
        for step in range(1, (steps if done is None else done) + 1):
            places = range((step - 1) * groups, step * groups)
            kept = [_rollout(questions[n % len(questions)], step, n) for n in places]
            write_rollouts(folder, step, kept)
    for number, answer in enumerate(answers):
        version = round(number * steps / max(1, len(answers) - 1))
        inner = folder / "evaluation" / f"step_{version:06d}"
        inner.mkdir(parents=True)
        _answer(inner, config, answer, version=version, is_finished=True)
    if done is None:
        write_event(folder, "end", step=steps)
    return folder


def _answer(folder, config, answer: Answer, *, version: int | None, is_finished: bool) -> None:
    questions = read_mmau(config.evaluation.file)
    said = {}
    for number, question in enumerate(questions):
        found = answer(number, question)
        if isinstance(found, str):
            found = Prediction(
                id=question.id,
                model_output=extract_answer(found),
                model_output_raw=found,
                finish_reason="stop",
                num_tokens=len(found.split()),
                policy_version=version,
            )
        if found is not None:
            said[question.id] = found
    lines = [json.dumps(asdict(p), ensure_ascii=False) + "\n" for p in said.values()]
    (folder / "predictions.jsonl").write_text("".join(lines), encoding="utf-8")
    if not is_finished:
        return
    write_predictions(folder / "predictions.json", questions, said)
    summary = summarise(
        questions,
        said,
        think=config.prompt.thinks,
        has_tags=config.prompt.has_tags,
        mmau_version=find_version(questions),
        policy_version=version,
        temperature=config.evaluation.temperature,
        think_max_words=config.prompt.measured_words,
    )
    write_summary(folder / "summary.json", summary)


def _write_metrics(folder: Path, config: RunConfig, steps: int, done: int) -> None:
    writer = MetricsWriter(folder, tensorboard=False)
    for step in range(1, done + 1):
        share = step / steps
        metrics = {"rollout/completion_tokens_mean": 20 - 5 * share, "learner/grad_norm": 1.0}
        metrics |= {"rollout/tokens_per_s": 600.0 + step, "time/wait_s": 0.4, "time/learner_s": 0.8}
        metrics |= {"time/publish_s": 0.1, "time/rest_s": 0.3, "time/step_s": 1.6}
        if config.algo.kind == "grpo":
            metrics |= {"reward/mean": 1 + 2 * share, "reward/accuracy_mean": share**0.5}
            metrics |= {"reward/format_mean": 1.0, "reward/std": 0.5, "kl/ref_mean": 0.1 * share}
        else:
            metrics |= {"loss/token_nll_mean": 2.0 - share}
        writer.write(step, metrics)
    writer.close()


def _rollout(question: Question, step: int, index: int) -> RolloutGroup:
    """One completion for each choice; of every third group all are right."""
    said = [question.answer if index % 3 == 2 else choice for choice in question.choices]
    texts = [thought(answer) for answer in said]
    completions = tuple(
        Completion(
            token_ids=np.arange(12, dtype=np.int32),
            rollout_logprobs=np.zeros(12, np.float32),
            text=text,
            finish_reason=FinishReason.STOP,
            policy_version=(step - 1, step - 1),
        )
        for text in texts
    )
    rewards = [float(answer == question.answer) for answer in said]
    group = Group(
        key=GroupKey("run", index),
        prompt=Prompt(question=question, text=question.question),
        prompt_ids=np.arange(30, dtype=np.int32),
        completions=completions,
    )
    return RolloutGroup(
        group=group,
        rewards=tuple(
            Reward(total=2 * r + 1, breakdown={"accuracy": r, "format": 1.0}) for r in rewards
        ),
        advantages=np.array(rewards, np.float32) - np.float32(np.mean(rewards)),
    )
