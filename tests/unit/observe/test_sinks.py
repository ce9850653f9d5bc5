import json

import pytest

from keomni_rl.errors import DataError
from keomni_rl.observe.sinks import MetricsWriter, read_lines, truncate_metrics, write_event


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
