import json

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


def test_nothing_to_truncate_is_fine(tmp_path):
    truncate_metrics(tmp_path, 3)
    assert read_lines(tmp_path / "metrics.jsonl") == []


def test_events_say_what_and_when(tmp_path):
    write_event(tmp_path, "checkpoint", path="step_000002")
    event = json.loads((tmp_path / "events.jsonl").read_text())
    assert event["event"] == "checkpoint"
    assert event["path"] == "step_000002"
    assert event["time"] > 0
