import io

import pytest
from rich.console import Console

from keomni_rl.evaluation.summary import Share, Summary
from keomni_rl.observe.progress import PLAIN_EVERY_S, Progress, step_figures
from keomni_rl.observe.table import evaluation_table

METRICS = {"reward/mean": 2.5, "reward/accuracy_mean": 0.75, "rollout/tokens_per_s": 1234.0}


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


def progress(log: io.StringIO, clock: Clock, *what, is_terminal: bool = False, **how) -> Progress:
    console = Console(file=log, force_terminal=is_terminal, width=120)
    return Progress(*what, console=console, clock=clock, **how)


def test_figures_of_a_step_are_shown_if_they_are_there():
    assert step_figures(METRICS) == "reward 2.50  accuracy 0.75  tokens/s 1,234"
    assert step_figures({"loss/token_nll_mean": 0.1234, "other": 1}) == "loss 0.123"


def test_a_log_gets_a_plain_line_now_and_then_and_at_the_end(log, clock):
    with progress(log, clock, "step", 6) as shown:
        for step in range(1, 6):
            clock.now += PLAIN_EVERY_S / 2
            shown.update(step, f"reward [{step}]")
        shown.update(6, "reward [6]")
    assert log.getvalue().splitlines() == [
        "step 2/6  reward [2]  0.2 min left",
        "step 4/6  reward [4]  0.1 min left",
        "step 6/6  reward [6]",
    ]


def test_what_was_done_before_counts_but_not_for_the_rate(log, clock):
    with progress(log, clock, "questions", 1_000, done=400) as shown:
        for done in (401, 410, 419):
            clock.now += 6
            shown.update(done)
    assert log.getvalue().splitlines() == [
        "questions 401/1000",
        "questions 410/1000  1.5/s  6.6 min left",
        "questions 419/1000  1.5/s  6.5 min left",
    ]


def test_steps_that_take_longer_than_minutes_have_an_end_too(log, clock):
    with progress(log, clock, "step", 4) as shown:
        for step in (1, 2, 3):
            clock.now += 3_600
            shown.update(step, "-")
    assert log.getvalue().splitlines()[-1] == "step 3/4  -  60.0 min left"


def test_a_log_hears_nothing_of_short_work(log, clock):
    with progress(log, clock, "questions", 4) as shown:
        for _ in range(4):
            clock.now += 1
            shown.advance(1)
    assert log.getvalue() == ""


def test_a_share_is_shown_without_counts(log, clock):
    with progress(log, clock, "reading", 1, as_percent=True) as shown:
        for _ in range(10):
            clock.now += 2
            shown.advance(0.1)
    first, *_, last = log.getvalue().splitlines()
    assert first == "reading 30%  0.2 min left"
    assert last == "reading 90%  0.1 min left"


def test_a_terminal_gets_a_bar(log, clock):
    with progress(log, clock, "step", 2, is_terminal=True) as shown:
        shown.update(1, "accuracy 0.75")
    assert "1/2" in log.getvalue()
    assert "accuracy 0.75" in log.getvalue()
    assert "\x1b" in log.getvalue()
    log.truncate(0)
    with progress(log, clock, "step", 2) as shown:
        shown.update(2, "accuracy 0.75")
    assert "\x1b" not in log.getvalue()


def summary(version: int, correct: int) -> Summary:
    return Summary(
        **Share.of(correct, 10).model_dump(),
        format=1.0,
        by_task={"sound": Share.of(correct, 10)},
        by_difficulty={},
        missing=0,
        failed=0,
        truncated=0,
        mmau_version="v05.15.25",
        policy_version=version,
        temperature=0.0,
    )


def test_the_table_says_version_interval_and_change():
    out = io.StringIO()
    Console(file=out, width=120).print(evaluation_table(summary(0, 4), summary(70, 9)))
    text = out.getvalue()
    assert "Accuracy on 10 questions (v05.15.25, greedy)" in text
    assert "0.400 [0.168, 0.687]" in text
    assert "+0.500" in text
    assert "policy 70" in text
