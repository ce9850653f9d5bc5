import io
import json
import re
import subprocess
import sys
import threading
import time

import pytest
from report_folders import right_every, write_evaluation, write_questions, write_run
from rich.console import Console
from typer.testing import CliRunner

from keomni_rl.cli.app import app
from keomni_rl.errors import DataError
from keomni_rl.observe.sinks import MetricsWriter, truncate_metrics, write_event
from keomni_rl.observe.watch.folder import watched
from keomni_rl.observe.watch.follow import Log, look
from keomni_rl.observe.watch.growing import GrowingLines
from keomni_rl.observe.watch.screen import Screen, duration
from keomni_rl.observe.watch.snapshot import QUIET_S, take_snapshot
from keomni_rl.observe.watch.spark import BLOCKS, sparkline
from keomni_rl.observe.watch.words import tell

ACCOUNT = {"started": 34, "trained": 32, "dropped": {"failed": 2}, "unfinished": 0}


@pytest.fixture
def run(tmp_path):
    """A run of four steps of six, with events, that goes on."""
    file = write_questions(tmp_path / "questions", 8)
    answers = [right_every(2), right_every(4)]
    folder = write_run(tmp_path / "run", file, 4, answers, "train.max_steps=6", done=4)
    write_event(folder, "ready", step=0, version=0, seconds={"learner": 3.0, "rollout": 41.5})
    write_event(folder, "checkpoint", path="step_000002")
    write_event(folder, "rollout actor lost", cause="the actor\ndied", version=2)
    write_event(folder, "rollout actor replaced", version=3)
    for index in (5, 6):
        write_event(folder, "group dropped", index=index, reason="equal rewards")
    return folder


def test_a_snapshot_tells_how_far_a_run_is(run):
    shot = look(run)
    assert (shot.name, shot.kind, shot.state) == ("run", "training", "going on")
    assert (shot.step, shot.max_steps) == (4, 6)
    assert shot.step_s == pytest.approx(1.6)
    assert shot.left_s == pytest.approx(3.2)
    assert shot.role_s == {
        "waiting for groups": 0.4,
        "learner": 0.8,
        "publication": 0.1,
        "checkpoint, evaluation": 0.3,
    }
    assert [(e.policy, e.n) for e in shot.evaluations] == [(0, 8), (4, 8)]
    assert shot.evaluations[1].interval95 is not None
    assert shot.groups is not None
    assert (shot.groups.trained, shot.groups.dropped) == (32, {"equal rewards": 2})
    names = [(curve.name, curve.is_part) for curve in shot.curves]
    assert names[:4] == [("reward", False), ("accuracy", True), ("format", True), ("KL", False)]
    assert [told.text for told in shot.events] == [
        "started",
        "all actors are up after 42 s",
        "checkpoint step_000002",
        "rollout actor lost: the actor died",
        "rollout actor replaced with policy 3",
        "2 groups were dropped: equal rewards",
    ]


def test_a_run_that_writes_nothing_is_stale_until_it_writes_again(run):
    with watched(run) as watch:
        watch.update()
        written = watch.written()
        assert take_snapshot(watch, written + QUIET_S - 1).state == "going on"
        shot = take_snapshot(watch, written + QUIET_S + 1)
        assert (shot.state, shot.quiet_s) == ("stale", QUIET_S + 1)
        write_event(run, "checkpoint", path="step_000004")
        watch.update()
        assert take_snapshot(watch, watch.written()).state == "going on"


@pytest.mark.parametrize(
    ("event", "state", "code"),
    [("end", "ended", 0), ("failed", "failed", 1), ("stopped", "stopped", 143)],
)
def test_watching_ends_as_the_run_does(run, event, state, code):
    write_event(run, event, cause="told to leave", **ACCOUNT)
    assert look(run).state == state
    done = CliRunner().invoke(app, ["watch", str(run)], catch_exceptions=False)
    assert done.exit_code == code
    assert "step 4/6  reward 3.00" in done.stdout


def test_a_resumed_run_is_watched_from_where_it_goes_on(run):
    with watched(run) as watch:
        watch.update()
        truncate_metrics(run, 2)
        write_event(run, "start", step=2, position=16)
        watch.update()
        shot = take_snapshot(watch, time.time())
        assert (shot.step, shot.state) == (2, "starting")
        assert shot.events[-1].text == "resumed at step 2"
        MetricsWriter(run, tensorboard=False).write(3, {"reward/mean": 1.5})
        watch.update()
        assert [line["step"] for line in watch.metrics] == [1, 2, 3]


def test_steps_that_a_lost_learner_forgot_are_taken_back(run):
    write_event(run, "learner lost", cause="rank 0 is gone", step=4, back_to=2)
    truncate_metrics(run, 2)
    shot = look(run)
    assert shot.groups.dropped["rolled back"] == 16
    assert shot.groups.trained == 16
    assert shot.events[-1].text == "learner lost at step 4, back to 2: rank 0 is gone"


def test_an_evaluation_under_way_shows_its_answers(run):
    write_event(run, "evaluation start", step=6, version=6, answered=0, questions=8)
    inner = run / "evaluation" / "step_000006"
    inner.mkdir()
    (inner / "predictions.jsonl").write_text('{"id": "1"}\n{"id": "2"}\n{"id": ')
    answering = look(run).answering
    assert (answering.policy, answering.answered, answering.questions) == (6, 2, 8)


def test_an_evaluation_of_its_own_is_watched_too(tmp_path):
    file = write_questions(tmp_path / "questions", 8)
    folder = write_evaluation(
        tmp_path / "run", file, lambda n, q: "x" if n < 6 else None, is_finished=False
    )
    write_event(folder, "start", answered=2, questions=8)
    write_event(folder, "ready")
    with watched(folder) as watch:
        watch.update()
        ready = watch.events[-1]["time"]
        shot = take_snapshot(watch, ready + 10)
    assert (shot.kind, shot.state) == ("evaluation", "going on")
    assert (shot.answering.answered, shot.answering.questions) == (6, 8)
    assert shot.left_s == pytest.approx(5.0)
    assert "6 of 8 questions  75%  5 s left" in drawn(shot, 80)


def test_an_empty_folder_is_waited_for_and_others_are_refused(tmp_path):
    (tmp_path / ".lock").touch()
    shot = look(tmp_path)
    assert shot.state == "waiting"
    assert "waiting for a run" in " ".join(drawn(shot, 80).split())
    with pytest.raises(DataError, match="no such folder"):
        look(tmp_path / "nowhere")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="no run's folder"):
        look(tmp_path)


def test_half_a_line_waits_and_a_broken_one_is_passed_over(tmp_path):
    path = tmp_path / "events.jsonl"
    lines = GrowingLines(path)
    lines.update()
    path.write_text('{"n": 1}\n{"n"')
    lines.update()
    assert lines.objects == [{"n": 1}]
    with path.open("a") as file:
        file.write(': 2}\n{"n": {"n": 3}\n\n{"n": 4}\n')
    assert not lines.update()
    assert lines.objects == [{"n": 1}, {"n": 2}, {"n": 4}]
    assert lines.num_unreadable == 1
    path.write_text('{"n": 0}\n{"m": 2}\n{"m": 3}\n{"m": 4}\n{"m": 5}\n{"m": 6}\n')
    assert lines.update()
    assert lines.objects == [{"n": 0}, *({"m": n} for n in (2, 3, 4, 5, 6))]
    path.unlink()
    lines.update()
    assert lines.objects == []


def drawn(shot, width, height=None, **how) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, **how)
    console.print(Screen(shot, height=height, hint="Ctrl-C leaves"))
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 40, 80, 132])
@pytest.mark.parametrize("height", [None, 12, 24, 50])
def test_a_screen_fits_any_terminal(run, width, height):
    lines = drawn(look(run), width, height).splitlines()
    assert max(map(len, lines)) <= width
    if height:
        assert len(lines) <= height
    assert lines[0].startswith("run")
    assert "step 4 of 6" in " ".join(lines)
    assert any("reward" in line and "3" in line for line in lines)


def test_nothing_is_lost_at_80_columns_nor_at_40(run):
    shot = look(run)
    for width in (80, 40):
        text = " ".join(drawn(shot, width).split())
        assert "\N{HORIZONTAL ELLIPSIS}" not in text
        for curve in shot.curves:
            assert curve.name in text
        for event in shot.events:
            assert event.text in text
        assert "32 trained on, 2 dropped (equal rewards)" in text


def test_a_screen_without_colour_or_blocks_is_plain(run, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = drawn(look(run), 80, force_terminal=True, color_system="truecolor")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", text)  # no colour of letters
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=out, width=80).print(Screen(look(run)))
    out.flush()
    assert b"reward" in out.buffer.getvalue()


def test_a_curve_of_a_line():
    assert sparkline([0, 1, 2, 3], 4, is_ascii=True) == "_-+#"
    assert sparkline([0, 0, 7, 7], 2) == BLOCKS[0] + BLOCKS[-1]
    assert sparkline([1, float("nan"), 2], 3) == f"{BLOCKS[0]} {BLOCKS[-1]}"
    assert sparkline([5, 5], 9) == BLOCKS[0] * 2
    assert sparkline([], 9) == ""


def test_unknown_events_are_told_as_they_are():
    (told,) = tell([{"event": "moved", "time": 1.0, "to": "moon"}])
    assert told.text == "moved: to moon"


@pytest.mark.parametrize(
    ("seconds", "words"), [(4, "4 s"), (60, "1 min"), (4000, "1 h 6 min"), (90000, "1 d 1 h")]
)
def test_durations_have_two_units(seconds, words):
    assert duration(seconds) == words


def test_a_log_hears_everything_once(run):
    out = io.StringIO()
    log = Log(Console(file=out, width=40))
    with watched(run) as watch:

        def tell_now():
            watch.update()
            log.tell(take_snapshot(watch, time.time()), watch.metrics)
            said = out.getvalue()
            out.truncate(0), out.seek(0)
            return said

        assert "step 4/6  reward 3.00" in tell_now()
        assert tell_now() == ""
        write_event(run, "checkpoint", path="step_000004")
        MetricsWriter(run, tensorboard=False).write(5, {"reward/mean": 2.5})
        assert re.fullmatch(r"\S+  checkpoint step_000004\nstep 5/6  reward 2.50.*\n", tell_now())
        truncate_metrics(run, 3)
        assert "taken back to step 3" in tell_now()


def test_json_is_one_object_and_nothing_else(run):
    done = CliRunner().invoke(app, ["watch", str(run), "--json"], catch_exceptions=False)
    shot = json.loads(done.stdout)
    assert (shot["state"], shot["step"], shot["metrics"]["reward/mean"]) == ("going on", 4, 3.0)


def test_the_command_follows_a_run_that_grows(run):
    """The real command, while another writer goes on, and its lines in a pipe."""
    watch = subprocess.Popen(
        [sys.executable, "-m", "keomni_rl.cli", "watch", str(run), "--interval", "0.1"],
        stdout=subprocess.PIPE,
        text=True,
    )
    heard = []
    is_watching = threading.Event()

    def listen():
        for line in watch.stdout:
            heard.append(line.rstrip())
            is_watching.set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert is_watching.wait(120)
        writer = MetricsWriter(run, tensorboard=False)
        for step in (5, 6):
            writer.write(step, {"reward/mean": step / 2})
        write_event(run, "end", step=6, **ACCOUNT)
        assert watch.wait(120) == 0
    finally:
        watch.kill()
        listener.join()
    text = "\n".join(heard)
    assert "step 5/6  reward 2.50" in text
    assert "step 6/6  reward 3.00" in text
    assert heard[-1].endswith("ended")
    assert "\x1b" not in text


def test_a_run_at_a_url_is_watched_and_only_its_news_is_read(run, store, monkeypatch):
    for path in run.rglob("*"):
        if path.is_file():
            store.write(path.relative_to(run).as_posix(), path.read_bytes())
    with watched(store.url) as watch:
        watch.update()
        assert take_snapshot(watch, time.time()).step == 4
        MetricsWriter(run, tensorboard=False).write(5, {"reward/mean": 2.5})
        store.write("metrics.jsonl", (run / "metrics.jsonl").read_bytes())
        read = []
        plain = type(store).read
        monkeypatch.setattr(
            type(store),
            "read",
            lambda self, name, start=0: (
                read.append((name, start > 0)) or plain(self, name, start=start)
            ),
        )
        watch.update()
        assert read == [("metrics.jsonl", True)]
        assert [line["step"] for line in watch.metrics] == [1, 2, 3, 4, 5]
        truncate_metrics(run, 3)
        store.write("metrics.jsonl", (run / "metrics.jsonl").read_bytes())
        watch.update()
        assert take_snapshot(watch, time.time()).step == 3


def test_a_store_that_goes_away_is_a_note(run, store, object_store):
    store.write("config.yaml", (run / "config.yaml").read_bytes())
    with watched(store.url) as watch:
        watch.update()
        object_store.stop()
        try:
            watch.update()
        finally:
            object_store.start()
        assert "the store is away" in watch.notes[0]
        watch.update()
        assert watch.notes == []
