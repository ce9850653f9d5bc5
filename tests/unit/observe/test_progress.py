import io

from rich.console import Console

from keomni_rl.evaluation.summary import Share, Summary
from keomni_rl.observe.progress import TrainProgress
from keomni_rl.observe.table import evaluation_table

METRICS = {"reward/mean": 2.5, "reward/accuracy_mean": 0.75, "rollout/tokens_per_s": 1234.0}


def test_a_log_gets_plain_lines():
    out = io.StringIO()
    with TrainProgress(2, console=Console(file=out, force_terminal=False)) as progress:
        progress.update(1, METRICS)
        progress.update(2, METRICS)
    first, last = out.getvalue().splitlines()
    assert first.startswith("step 1/2  reward 2.50  accuracy 0.75  tokens/s 1,234")
    assert last.startswith("step 2/2")  # the last step is always told
    assert "\x1b" not in out.getvalue()


def test_a_terminal_gets_a_bar():
    out = io.StringIO()
    with TrainProgress(2, console=Console(file=out, force_terminal=True, width=120)) as progress:
        progress.update(1, METRICS)
    assert "1/2" in out.getvalue()
    assert "accuracy 0.75" in out.getvalue()


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
