from report_folders import write_questions, write_run

from keomni_rl.observe.report.folders import read_folder
from keomni_rl.observe.report.sounds import Embedding
from keomni_rl.observe.report.training import training_page


def page_of(folder):
    return training_page(read_folder(folder), Embedding("none"))


def test_a_run_that_goes_on_says_how_far_it_is(tmp_path):
    file = write_questions(tmp_path / "questions", 4)
    note = page_of(write_run(tmp_path / "half", file, 200, [], done=50)).notes[0]
    assert note.startswith("This run has not come to its end: step 50 of 200, which ended at 20")
    assert note.endswith("at the pace of its last steps 4.0 min are left.")
    begun = page_of(write_run(tmp_path / "begun", file, 200, [], done=0))
    assert begun.notes == ["This run has not ended a step yet, of 200."]
    assert begun.content["idle_share"] is None


def test_a_run_at_its_end_says_nothing_of_that(tmp_path):
    file = write_questions(tmp_path / "questions", 4)
    page = page_of(write_run(tmp_path / "run", file, 2, []))
    assert page.notes == ["No clips are in this page (--audio none)."]
    assert page.content["idle_share"] == 0.25
