import json

from report_folders import right_every, write_questions, write_run

from keomni_rl.observe.report.curves import reward_parts, training_figures
from keomni_rl.observe.report.folders import read_folder


def test_every_reward_of_a_run_is_a_line(tmp_path):
    metrics = [
        {"step": 1, "reward/mean": 1.0, "reward/own_mean": 0.5, "reward/think_length_mean": 0.2}
    ]
    assert reward_parts(metrics) == {
        "reward/own_mean": "own",
        "reward/think_length_mean": "think_length",
    }
    assert reward_parts([]) == {}


def test_every_evaluated_policy_is_marked_on_every_curve(tmp_path):
    file = write_questions(tmp_path / "questions", 8)
    folder = write_run(tmp_path / "run", file, 4, [right_every(2), right_every(3)])
    figures = {drawn.title: drawn.figure for drawn in training_figures(read_folder(folder))}
    marks = figures["Reward"]["data"][-1]
    assert (marks["x"], marks["text"]) == ([0, 4], ["v0", "v4"])
    assert marks["customdata"][0].startswith("policy 0: accuracy ")
    assert [shape["x0"] for shape in figures["Reward"]["layout"]["shapes"]] == [0, 4]
    parts = [line["name"] for line in figures["Reward by part"]["data"] if "name" in line]
    assert parts == ["accuracy", "format"]
    times = figures["Time of a step: the learner"]["data"]
    assert [line["y"][0] for line in times[:4]] == [0.8, 0.4, 0.1, 0.3]
    json.dumps(figures)
