import json
from functools import partial

import pytest

from keomni_rl.driver.infer import asked_prompt, read_asked
from keomni_rl.errors import DataError

CHOICE = {"question": "What is heard?", "choices": ["dog", "cat"], "audio": "a.wav"}
OPEN = {"question": "Please describe this audio.", "audio": "a.wav"}


def write(tmp_path, *rows):
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_answers_ids_and_choices_may_be_left_out(tmp_path):
    full = CHOICE | {"id": "q7", "answer": "cat", "task": "sound"}
    choice, opened, known = read_asked(write(tmp_path, CHOICE, OPEN, full))
    assert (choice.id, choice.choices, choice.answer) == ("1", ("dog", "cat"), None)
    assert (opened.id, opened.choices, opened.answer) == ("2", (), None)
    assert (known.id, known.answer, known.extra) == ("q7", "cat", {"task": "sound"})
    assert choice.audio == str(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("[1]", "line 2: wanted an object"),
        ("{", "line 2: not JSON"),
        ('{"id": ' + "9" * 5000 + "}", "line 2: not JSON"),
        ('{"question": "What?"}', "line 2: no 'audio'"),
        ('{"question": "What?", "audio": "../a.wav"}', "line 2: audio '../a.wav' lies outside"),
        ('{"question": "?", "audio": "a.wav", "choices": "dog"}', "line 2: 'choices' is 'dog'"),
        ('{"question": "?", "audio": "a.wav", "choices": ["dog"]}', "line 2: 'choices' is"),
        ('{"question": "?", "audio": "a.wav", "choices": {"dog": 1}}', "line 2: 'choices' is"),
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path, row, message):
    file = tmp_path / "asked.jsonl"
    file.write_text(json.dumps(OPEN) + "\n" + row + "\n")
    with pytest.raises(DataError, match=message):
        read_asked(file)


def test_a_file_without_questions_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file of questions"):
        read_asked(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no questions"):
        read_asked(write(tmp_path))


def test_prompts_are_those_of_training_and_an_open_question_is_asked_as_it_is(tmp_path):
    choice, opened = read_asked(write(tmp_path, CHOICE, OPEN))
    options = "Please choose the answer from the following options: ['dog', 'cat']."
    think = (
        "Output the thinking process (less than 50 words) in <think> </think> and final answer "
        "in <answer> </answer>."
    )
    slow, quick = partial(asked_prompt, thinks=True), partial(asked_prompt, thinks=False)
    assert slow(choice).text == f"What is heard? {options} {think}"
    assert slow(opened).text == f"Please describe this audio. {think}"
    assert quick(opened).text == "Please describe this audio."
    assert quick(choice).text == (
        f"What is heard? {options} Directly output the final answer in <answer> </answer>."
    )
