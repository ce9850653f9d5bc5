from pathlib import Path

import pytest
from report_folders import right_every, write_evaluation, write_questions, write_run

from keomni_rl.errors import ConfigError, DataError
from keomni_rl.observe.report.evaluations import EvaluationRun
from keomni_rl.observe.report.folders import TrainingRun, _inside_a_run, read_folder
from keomni_rl.observe.sinks import write_event


@pytest.fixture
def file(tmp_path):
    return write_questions(tmp_path / "questions", 8)


def test_a_training_run_is_read_with_what_it_has(tmp_path, file):
    folder = write_run(tmp_path / "run", file, 4, [right_every(2), right_every(4)])
    with (folder / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 5, "rew')  # a kill cut this line short
    run = read_folder(folder)
    assert isinstance(run, TrainingRun)
    assert run.name == "run"
    assert [m["step"] for m in run.metrics] == [1, 2, 3, 4]
    assert [e.policy_version for e in run.evaluations] == [0, 4]
    assert run.is_ended
    assert run.notes == ()


def test_a_run_that_was_started_again_has_not_ended(tmp_path, file):
    folder = write_run(tmp_path / "run", file, 2, [])
    write_event(folder, "start", step=2)
    write_event(folder, "checkpoint", path="step_000002")
    assert not read_folder(folder).is_ended
    assert not read_folder(write_run(tmp_path / "half", file, 4, [], done=2)).is_ended


def test_an_evaluation_inside_a_run_takes_the_runs_settings(tmp_path, file):
    folder = write_run(tmp_path / "run", file, 4, [right_every(2)], "prompt.style=no_think")
    run = read_folder(folder / "evaluation" / "step_000000")
    assert isinstance(run, EvaluationRun)
    assert (run.name, run.model) == ("run/step_000000", "models/tiny")
    assert run.prompt.style == "no_think"
    assert len(run.predictions) == len(run.clips) == 8


def test_predictions_keep_what_only_their_lines_say(tmp_path, file):
    folder = write_evaluation(tmp_path / "e", file, right_every(2))
    with_lines = read_folder(folder)
    (folder / "predictions.jsonl").unlink()
    without = read_folder(folder)
    assert with_lines.predictions["q-00000"].num_tokens > 0
    assert without.predictions["q-00000"].num_tokens == 0
    assert with_lines.right == without.right
    assert len(with_lines.right) == 8 * with_lines.summary.accuracy


def test_an_unfinished_evaluation_is_judged_on_what_is_answered(tmp_path, file):
    def half(number, question):
        return right_every(2)(number, question) if number < 4 else None

    run = read_folder(write_evaluation(tmp_path / "e", file, half, is_finished=False))
    assert not run.is_finished
    assert run.summary.n == 4
    assert run.summary.missing == 0
    assert len(run.questions) == 8
    assert run.notes == (
        "This evaluation has not ended: 4 of 8 questions are answered, and all figures are of "
        "these.",
    )


def test_an_evaluation_cut_off_in_its_first_line_holds_nothing(tmp_path, file):
    folder = write_evaluation(tmp_path / "e", file, lambda *_: None, is_finished=False)
    (folder / "predictions.jsonl").write_text('{"id": "q-0')
    run = read_folder(folder)
    assert (run.summary, run.questions, run.is_judged) == (None, (), False)


def test_without_the_questions_file_only_the_sound_is_missing(tmp_path, file):
    folder = write_evaluation(tmp_path / "e", file, right_every(2))
    file.unlink()
    run = read_folder(folder)
    assert run.summary.n == len(run.questions) == 8
    assert run.clips == {}
    assert "No clip can be played" in run.notes[0]
    assert str(file) in run.notes[0]


def test_settings_of_another_version_are_left_out_and_named(tmp_path, file):
    folder = write_run(tmp_path / "run", file, 2, [])
    with (folder / "config.yaml").open("a") as config:
        config.write("beam_width: 3\n")
    run = read_folder(folder)
    assert run.config is None
    assert len(run.metrics) == 2
    assert "unknown configuration key 'beam_width'" in run.notes[0]


def test_what_is_neither_run_nor_evaluation_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read_folder(tmp_path / "none")
    with pytest.raises(DataError, match="neither a run nor an evaluation"):
        read_folder(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"config\.yaml: not readable as YAML"):
        read_folder(tmp_path)


def test_answers_to_other_questions_are_refused(tmp_path, file):
    folder = write_evaluation(tmp_path / "e", file, right_every(2))
    lines = (folder / "predictions.jsonl").read_text()
    (folder / "predictions.jsonl").write_text(lines.replace("q-00003", "q-99999"))
    with pytest.raises(DataError, match="1 of 8 predictions are for other questions: q-99999"):
        read_folder(folder)


def test_a_folder_directly_under_the_root_is_in_no_run():
    run = _inside_a_run(Path("/no-such-evaluation"))
    assert (run.name, run.answering) == ("no-such-evaluation", None)
