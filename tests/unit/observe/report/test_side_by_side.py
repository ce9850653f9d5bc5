import pytest
from report_folders import write_questions, write_run

from keomni_rl.observe.report.folders import read_folder
from keomni_rl.observe.report.side_by_side import differing_settings, side_by_side_page


@pytest.fixture
def runs(tmp_path):
    file = write_questions(tmp_path / "questions", 4)
    words = {"a": ["learner.lr=1e-5"], "b": ["learner.lr=2e-5", "reward.weights={accuracy: 1}"]}
    return [read_folder(write_run(tmp_path / name, file, 3, [], *words[name])) for name in words]


def test_settings_that_differ_stand_beside_each_other(runs):
    assert differing_settings(runs) == {
        "reward.weights.accuracy": ["2.0", "1.0"],
        "reward.weights.format": ["1.0", "null"],
        "learner.lr": ["1e-05", "2e-05"],
    }
    assert differing_settings(runs[:1]) == {}


def test_two_runs_share_every_curve(runs):
    figures = side_by_side_page(runs).figures
    titles = [drawn.title for drawn in figures]
    assert titles[:3] == ["Reward", "Reward: accuracy", "Reward: format"]
    assert "Learner idle, waiting for groups" in titles
    assert all([line["name"] for line in drawn.figure["data"]] == ["a", "b"] for drawn in figures)
