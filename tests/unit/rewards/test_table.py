"""Both rewards, completion by completion: as the seeds computed them, and in the honest form."""

import pytest

from keomni_rl.rewards.accuracy import accuracy, seeds_accuracy
from keomni_rl.rewards.format import format_reward

THINK, ALONE = True, False
# Number, completion, solution, whether a think is asked for; accuracy and format of the seeds.
TABLE = [
    (1, "<answer>Car</answer>", "Car", ALONE, 1, 1),
    (2, "<answer> Car </answer>", "Car", ALONE, 1, 1),
    (3, "<answer>car</answer>", "Car", ALONE, 0, 1),
    (4, "<answer>Car.</answer>", "Car", ALONE, 0, 1),
    (5, "Car", "Car", ALONE, 1, 0),
    (6, " Car\n", "Car", ALONE, 1, 0),
    (7, "<think>ok</think><answer>Car</answer>", "Car", THINK, 1, 1),
    (8, "<think>ok</think>\n\n <answer>Car</answer>", "Car", THINK, 1, 1),
    (9, "<think>ok</think>x<answer>Car</answer>", "Car", THINK, 1, 0),
    (10, "<think>ok</think><answer>Car</answer>", "Car", ALONE, 1, 0),
    (11, "<answer>Car</answer>", "Car", THINK, 1, 0),
    (12, "<think>ok</think><answer>Car</answer>\n", "Car", THINK, 1, 0),
    (13, "\n<think>ok</think><answer>Car</answer>", "Car", THINK, 1, 0),
    (14, "<think>ok</think><answer>Car</answer><answer>Bus</answer>", "Car", THINK, 1, 1),
    (15, "<think>ok</think><answer>Bus</answer><answer>Car</answer>", "Car", THINK, 0, 1),
    (16, "<think>a <answer>Bus</answer> b</think><answer>Car</answer>", "Car", THINK, 0, 1),
    (17, "<answer>\nCar\n</answer>", "Car", ALONE, 0, 1),
    (18, "<think>a\nb</think><answer>Car</answer>", "Car", THINK, 1, 1),
    (19, "<answer>Car", "Car", ALONE, 0, 0),
    (20, "<think></think><answer></answer>", "Car", THINK, 0, 1),
    (21, "", "Car", ALONE, 0, 0),
    (22, "<Answer>Car</Answer>", "Car", ALONE, 0, 0),
    (23, "<think>ok</think><think>ok</think><answer>Car</answer>", "Car", THINK, 1, 1),
    (24, "<answer>Car</answer> extra", "Car", ALONE, 1, 0),
    (25, "<answer>6/8</answer>", "3/4", ALONE, 0, 1),
    (26, "<answer> 6/8 </answer>", " 3/4 ", ALONE, 1, 1),
    (27, "<answer>4/4</answer>", "4/4", ALONE, 1, 1),
    (28, "<think>There are 3 dogs.</think><answer>dog 3</answer>", "cat 3", THINK, 1, 1),
    (29, "<think>I hear 2 birds</think><answer>two</answer>", "about 2 seconds", THINK, 1, 1),
    (30, "<answer>at 90 bpm</answer>", "around 90 bpm", ALONE, 1, 1),
    (31, "<think>about 2 s</think><answer>1.63 seconds</answer>", "1.63 seconds", THINK, 1, 1),
    (32, "<think>ok</think><answer>Db major</answer>", "C# major", THINK, 0, 1),
    (33, "The answer is 5", "x =5", ALONE, 1, 0),
    (34, "<answer>[1, 2]</answer>", "[1, 2]", ALONE, 1, 1),
]
BY_MATHEMATICS = {26, 28, 29, 30, 33}

# Rows on which the honest form differs: accuracy and format there, and why.
ONCE = "one think and one answer were asked for"
TEXT = "another text than the solution, and mathematics is off"
HONEST = {
    14: (1, 0, f"{ONCE}; the first answer counts"),
    15: (0, 0, f"{ONCE}; the first answer counts"),
    16: (0, 0, f"{ONCE}; the first answer counts, in the evaluation too"),
    17: (1, 1, "line breaks around an answer are trimmed like spaces"),
    23: (1, 0, ONCE),
    26: (0, 1, TEXT),
    28: (0, 1, TEXT),
    29: (0, 1, TEXT),
    30: (0, 1, TEXT),
    33: (0, 0, TEXT),
}
# Rows on which the honest form with mathematics differs from the honest form without.
WITH_MATHEMATICS = {
    25: (1, "3/4 is 6/8 in lowest terms, and 6/8 is no choice here"),
    26: (1, "the same"),
    28: (1, "3 is 3: math_verify does not read words"),
    30: (1, "90 is 90"),
}


every_row = pytest.mark.parametrize(
    ("row", "text", "solution", "think", "right", "formed"),
    [pytest.param(*row, id=f"row {row[0]}") for row in TABLE],
)


@every_row
def test_the_seeds(row, text, solution, think, right, formed, ask, verifier):
    prompt = ask(solution)
    assert seeds_accuracy([text], prompt, verify=verifier.verify) == [right]
    assert format_reward(text, prompt, think=think, compat=True) == formed


@every_row
def test_mathematics_decides_some_rows(row, text, solution, think, right, formed, ask):
    without = seeds_accuracy([text], ask(solution), verify=lambda pairs: [False] * len(pairs))
    assert (without != [right]) == (row in BY_MATHEMATICS)


@every_row
def test_the_honest_form(row, text, solution, think, right, formed, ask):
    right, formed, _why = HONEST.get(row, (right, formed, "as the seeds"))
    assert accuracy([text], ask(solution)) == [right]
    assert format_reward(text, ask(solution), think=think) == formed


@every_row
def test_the_honest_form_with_mathematics(row, text, solution, think, right, formed, ask, verifier):
    right, *_ = WITH_MATHEMATICS.get(row, HONEST.get(row, (right,)))
    assert accuracy([text], ask(solution), verify=verifier.verify) == [right]
