import pytest
from report_folders import right_every, thought, write_evaluation, write_questions, write_run

from keomni_rl.config.describe import describe_method
from keomni_rl.evaluation.paired import Difference
from keomni_rl.observe.report.folders import read_folder
from keomni_rl.observe.report.methods import differences, table_rows

SUPERVISED = ("algo.kind=supervised", "algo.beta=0", "algo.importance_cap=null")


@pytest.fixture
def file(tmp_path):
    return write_questions(tmp_path / "questions", 12)


def named(*folders):
    return [(folder.name, read_folder(folder)) for folder in folders]


def test_methods_have_the_papers_names(tmp_path, file):
    words = {
        "GRPO with think": [],
        "GRPO without think": ["prompt.style=answer"],
        "GRPO with think, LoRA": ["learner.trained=lora"],
        "supervised": SUPERVISED,
        "supervised, audio tower frozen": [*SUPERVISED, "learner.trained=without_audio_tower"],
    }
    for number, (name, overrides) in enumerate(words.items()):
        run = read_folder(write_run(tmp_path / str(number), file, 1, [], *overrides))
        assert describe_method(run.config) == name


def test_a_base_comes_once_for_each_prompt_and_a_run_by_its_last_evaluation(tmp_path, file):
    half, most = right_every(2), right_every(5)
    rows = table_rows(
        named(
            write_run(tmp_path / "think", file, 6, [half, right_every(3), most]),
            write_run(tmp_path / "think_again", file, 6, [half, most]),
            write_run(tmp_path / "sft", file, 4, [half, most], *SUPERVISED, "prompt.style=direct"),
        )
    )
    assert [(r.method, r.prompt, r.name, r.steps) for r in rows] == [
        ("base", "think", "tiny", 0),
        ("base", "direct", "tiny", 0),
        ("GRPO with think", "think", "think", 6),
        ("GRPO with think", "think", "think_again", 6),
        ("supervised", "direct", "sft", 4),
    ]
    assert rows[2].summary == rows[3].summary
    assert rows[2].summary.policy_version == 6


def test_an_evaluation_of_the_model_that_runs_start_from_is_their_base(tmp_path, file):
    base = write_evaluation(tmp_path / "before", file, right_every(3))
    foreign = write_evaluation(tmp_path / "other", file, right_every(4), "model.path=models/other")
    run = write_run(tmp_path / "run", file, 2, [right_every(2), right_every(9)])
    rows = table_rows(named(run, foreign, base))
    assert [(r.method, r.name, r.steps) for r in rows] == [
        ("base", "before", 0),
        ("GRPO with think", "run", 2),
        ("evaluated", "other", None),
    ]


def test_a_run_that_has_evaluated_nothing_has_a_row_without_figures(tmp_path, file):
    (row,) = table_rows(named(write_run(tmp_path / "run", file, 2, [])))
    assert (row.method, row.summary, row.answers, row.steps) == (
        "GRPO with think",
        None,
        None,
        None,
    )


def test_differences_are_paired_and_only_on_the_same_questions(tmp_path, file):
    def right_on(numbers):
        def answer(number, question):
            wrong = next(choice for choice in question.choices if choice != question.answer)
            return thought(question.answer if number in numbers else wrong)

        return answer

    other_file = write_questions(tmp_path / "others", 5)
    rows = table_rows(
        named(
            write_evaluation(tmp_path / "a", file, right_on({0, 1, 2, 3})),
            write_evaluation(tmp_path / "b", file, right_on({2, 3, 4, 5, 6, 7, 8})),
            write_evaluation(tmp_path / "c", other_file, right_on({0})),
        )
    )
    (b, of_b), (c, of_c) = differences(rows)
    assert (b.name, c.name) == ("b", "c")
    assert of_b == [Difference.of(both=2, only_ours=5, only_baseline=2, neither=3)]
    assert of_c == [None, None]
