import json

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keomni_rl.errors import DataError
from keomni_rl.observe.sinks import (
    MetricsWriter,
    read_lines,
    truncate_metrics,
    write_event,
    write_rollouts,
)
from keomni_rl.types import (
    Completion,
    FinishReason,
    Group,
    GroupKey,
    Prompt,
    Reward,
    RolloutGroup,
)


def steps(tmp_path):
    return [line["step"] for line in read_lines(tmp_path / "metrics.jsonl")]


def test_a_resumed_run_writes_no_step_twice(tmp_path):
    writer = MetricsWriter(tmp_path, tensorboard=False)
    for step in (1, 2, 3, 4):
        writer.write(step, {"reward/mean": step / 2})
    truncate_metrics(tmp_path, 2)
    assert steps(tmp_path) == [1, 2]
    MetricsWriter(tmp_path, tensorboard=False).write(3, {"reward/mean": 9.0})
    assert steps(tmp_path) == [1, 2, 3]
    assert read_lines(tmp_path / "metrics.jsonl")[2]["reward/mean"] == 9.0


def test_a_line_that_a_kill_cut_short_is_left_out_and_mended(tmp_path):
    MetricsWriter(tmp_path, tensorboard=False).write(1, {"a/b": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "a/')
    assert steps(tmp_path) == [1]
    truncate_metrics(tmp_path, 5)
    MetricsWriter(tmp_path, tensorboard=False).write(2, {"a/b": 2.0})
    assert steps(tmp_path) == [1, 2]


@pytest.mark.parametrize(
    "line",
    [
        b'{"step": 2, "a/',
        b'{"step": ' + b"9" * 5000 + b"}",
        b'{"step": ' + b"[" * 100_000,
        b'{"step": "\xff"}',
        b"[2]",
    ],
)
def test_a_whole_line_that_is_no_object_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2: .*a JSON object.*this line"):
        read_lines(path)
    with pytest.raises(DataError, match="line 2"):
        truncate_metrics(tmp_path, 1)
    assert path.read_bytes().count(b"\n") == 3


def test_nothing_to_truncate_is_fine(tmp_path):
    truncate_metrics(tmp_path, 3)
    assert read_lines(tmp_path / "metrics.jsonl") == []


def test_events_say_what_and_when(tmp_path):
    write_event(tmp_path, "checkpoint", path="step_000002")
    event = json.loads((tmp_path / "events.jsonl").read_text())
    assert event["event"] == "checkpoint"
    assert event["path"] == "step_000002"
    assert event["time"] > 0


def test_every_evaluation_is_in_the_line_of_its_step_and_a_step_has_one_line(tmp_path):
    writer = MetricsWriter(tmp_path, tensorboard=True)
    for step in (1, 2, 3):
        writer.write(step, {"reward/mean": step / 2})
    writer.add_evaluations({})
    for version in (0, 1, 3, 3):  # the last ends after the last step, and may come again
        figures = {"evaluation/accuracy": version / 4, "evaluation/format": 1.0}
        writer.add_evaluations({version: figures})
    writer.close()
    lines = [
        {key: value for key, value in line.items() if key != "time"}
        for line in read_lines(tmp_path / "metrics.jsonl")
    ]
    assert lines == [
        {
            "step": 1,
            "reward/mean": 0.5,
            "evaluation_before/accuracy": 0.0,
            "evaluation_before/format": 1.0,
            "evaluation/accuracy": 0.25,
            "evaluation/format": 1.0,
        },
        {"step": 2, "reward/mean": 1.0},
        {"step": 3, "reward/mean": 1.5, "evaluation/accuracy": 0.75, "evaluation/format": 1.0},
    ]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = {event.step: event.value for event in board.Scalars("evaluation/accuracy")}
    assert shown == {0: 0.0, 1: 0.25, 3: 0.75}
    assert [event.step for event in board.Scalars("reward/mean")] == [1, 2, 3]


def test_half_a_surrogate_pair_in_a_completion_is_written_as_a_question_mark(tmp_path, question):
    completion = Completion(
        token_ids=np.asarray([1, 2], np.int32),
        rollout_logprobs=np.zeros(2, np.float32),
        text="caf\u00e9 \ud83d",
        finish_reason=FinishReason.STOP,
        policy_version=(0, 0),
    )
    group = Group(
        key=GroupKey("run", 0),
        prompt=Prompt(question=question, text="What?"),
        prompt_ids=np.asarray([1], np.int32),
        completions=(completion,),
    )
    reward = Reward(total=1.0, breakdown={"format": 1.0})
    rollout = RolloutGroup(group=group, rewards=(reward,), advantages=np.zeros(1, np.float32))
    write_rollouts(tmp_path, 1, [rollout])
    (read,) = read_lines(tmp_path / "rollouts" / "step_000001.jsonl")
    assert read["completions"][0]["text"] == "caf\u00e9 ?"
