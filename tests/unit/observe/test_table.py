import io

import pytest
from rich.console import Console

from keomni_rl.evaluation.compare import Comparison
from keomni_rl.evaluation.paired import Difference
from keomni_rl.evaluation.samples import SampleFigures
from keomni_rl.evaluation.shares import Share
from keomni_rl.evaluation.summary import Summary
from keomni_rl.observe.report.beside import beside_rows
from keomni_rl.observe.score_table import beside_table, comparison_table, score_tables
from keomni_rl.observe.table import evaluation_table


def summary(share: Share, **more) -> Summary:
    fields = {
        "format": 0.5,
        "by_task": {"sound": share},
        "by_difficulty": {"easy": share},
        "missing": 0,
        "failed": 0,
        "truncated": 0,
        "mmau_version": "v05.15.25",
        "policy_version": 7,
        "temperature": 0.0,
    }
    return Summary(**share.model_dump(), **fields | more)


def shown(*tables) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(*tables, sep="\n")
    return out.getvalue()


def test_before_and_after_with_their_change():
    text = shown(evaluation_table(summary(Share.of(4, 10)), summary(Share.of(9, 10), format=0.75)))
    assert "Accuracy on 10 questions (v05.15.25, greedy)" in text
    assert text.count("+0.500") == 2
    assert "+0.250" in text


def test_a_model_without_versions_at_a_temperature():
    fixed = summary(Share.of(4, 10), temperature=0.7, policy_version=None)
    text = shown(evaluation_table(fixed))
    assert "temperature 0.7" in text
    assert "policy" not in text
    unknown = shown(evaluation_table(summary(Share.of(4, 10), temperature=None)))
    assert "Accuracy on 10 questions (v05.15.25)" in unknown


def test_without_answers_there_are_dashes():
    text = shown(evaluation_table(summary(Share.unjudged(10), format=None)))
    assert [line.split() for line in text.splitlines() if "sound" in line] == [
        ["\u2502", "sound", "\u2502", "10", "\u2502", "-", "\u2502"]
    ]
    text = shown(*score_tables(summary(Share.unjudged(10))))
    assert "10 questions: no answers, predictions only" in text


def test_several_samples_are_rows_beside_the_verdict():
    samples = SampleFigures(num_samples=8, mean=Share.of(5, 10), majority=Share.of(6, 10))
    text = shown(*score_tables(summary(Share.of(4, 10), samples=samples, truncated=None)))
    assert "mean of 8 samples" in text
    assert "60.00 [31.3, 83.2]" in text
    assert "cut off" not in text


def test_terminal_and_page_say_the_same_beside_the_verdict():
    share = Share.of(4, 10)
    held = summary(share, other_scorers={"strict": share}, format=0.125, no_answer=0.25)
    rows = beside_rows([held, summary(share, format=None)])
    assert rows == {
        "strict: the choice, letter for letter": [share, "-"],
        "in the asked form, nothing around it": ["12.5%", "-"],
        "completions without answer tags": ["25.0%", "-"],
        "questions without a prediction": ["0", "0"],
        "questions that failed": ["0", "0"],
        "completions cut off": ["0", "0"],
        "questions that list a choice twice": ["0", "0"],
    }
    lines = shown(beside_table(held)).splitlines()
    cells = ["40.00 [16.8, 68.7]", "12.50", "25.00", "0", "0", "0", "0"]
    found = [[c.strip() for c in line.split("\u2502")[1:3]] for line in lines if "\u2502" in line]
    assert found == [list(pair) for pair in zip(rows, cells, strict=True)]


def test_names_are_text_whatever_brackets_they_hold():
    share = Share.of(4, 10)
    text = shown(*score_tables(summary(share, by_sub_category={"[red]Counting[/b]": share})))
    assert "[red]Counting[/b]" in text


@pytest.mark.parametrize(
    "names", [("[/a].json", "[red].json"), ("new.json", "old.json"), ("n" * 60, "o" * 60)]
)
def test_a_comparison_fits_a_terminal(names):
    total = Difference.of(both=600, only_ours=50, only_baseline=110, neither=240)
    comparison = Comparison(
        names=names, mmau_version="v05.15.25", total=total, by_task={"speech": total}
    )
    row = [line for line in shown(comparison_table(comparison)).splitlines() if "speech" in line]
    cells = [cell.strip() for cell in row[0].strip("\u2502").split("\u2502")]
    assert cells == ["speech", "1000", "65.00", "71.00", "-6.0 [-8.5, -3.5]", "50 : 110", "0.0000"]
