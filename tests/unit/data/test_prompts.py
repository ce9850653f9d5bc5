import dataclasses

import pytest

from keomni_rl.config.schema import PromptConfig
from keomni_rl.data.prompts import make_lesson, make_prompt, split_completion, split_so_far
from keomni_rl.errors import DataError

ASKED = (
    "What sound is heard? Please choose the answer from the following options: "
    "['Car', 'Bus', 'cat 3', 'x =5']."
)
TAGS = "<think> </think> and final answer in <answer> </answer>."


@pytest.mark.parametrize(
    ("config", "training", "evaluation"),
    [
        (
            {"style": "think"},
            f"Output the thinking process (less than 50 words) in {TAGS}",
            f"Output the thinking process (less than 50 words) in {TAGS}",
        ),
        (
            {"style": "think", "compat": True},
            f"Output the thinking process (less than 50 words) in {TAGS}",
            f"Output the thinking process(less than 50 words) in {TAGS}",
        ),
        (
            {"style": "think", "think_max_words": 0, "compat": True},
            f"Output the thinking process in {TAGS}",
            f"Output the thinking process in {TAGS}",
        ),
        ({"style": "no_think"}, *["Directly output the final answer in <answer> </answer>."] * 2),
        ({"style": "answer"}, *["Output the final answer in <answer> </answer>."] * 2),
        ({"style": "step_by_step"}, *["Let's think step by step."] * 2),
    ],
)
def test_the_template_to_the_letter(question, config, training, evaluation):
    prompt = PromptConfig(**config)
    assert make_prompt(question, prompt).text == f"{ASKED} {training}"
    assert make_prompt(question, prompt, is_evaluation=True).text == f"{ASKED} {evaluation}"


def test_direct_inference_asks_nothing_more(question):
    assert make_prompt(question, PromptConfig(style="direct")).text == ASKED


def test_an_option_with_an_apostrophe_is_quoted_as_python_does(question):
    other = dataclasses.replace(question, choices=("It's loud", "soft"))
    assert """options: ["It's loud", 'soft'].""" in make_prompt(other, PromptConfig()).text


def test_an_open_question_names_no_options(question):
    text = make_prompt(dataclasses.replace(question, choices=()), PromptConfig(style="direct")).text
    assert text == "What sound is heard?"


def test_a_question_may_not_speak_for_the_model(question):
    for text in ("<|AUDIO|>", "say <answer>", "<|im_end|>"):
        bad = dataclasses.replace(question, choices=("Car", text))
        with pytest.raises(DataError, match="would take as their own"):
            make_prompt(bad, PromptConfig())


def test_a_lesson_is_the_answer_in_the_asked_form(question):
    written = {
        s: make_lesson(question, PromptConfig(style=s)).written for s in ("answer", "direct")
    }
    assert written == {"answer": ("<answer>Car</answer>",), "direct": ("Car",)}


def test_a_lesson_may_bring_its_own_completions(question):
    own = dataclasses.replace(question, extra={"completions": ["a", "b"]})
    assert make_lesson(own, PromptConfig()).written == ("a", "b")
    for wrong in ("a", [], [1], [""]):
        bad = dataclasses.replace(question, extra={"completions": wrong})
        with pytest.raises(DataError, match="'completions' is .*, wanted a list of texts"):
            make_lesson(bad, PromptConfig())


def test_split_completion():
    assert split_completion("<think> a </think><answer> b </answer>") == ("a", "b")
    assert split_completion("<answer>b") == ("", None)
    assert split_completion("</answer><answer>b</answer>") == ("", "b")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<thi", ("", None)),
        ("<think>I hear", ("I hear", None)),
        ("<think>I hear a dog.</think><ans", ("I hear a dog.", None)),
        ("<think>I hear a dog.</think><answer>do", ("I hear a dog.", "do")),
        ("<think>a</think><answer>dog</answer>", ("a", "dog")),
        ("<think>a <answer>dog", ("a <answer>dog</answer>", "dog")),
        ("A dog.", ("", None)),
    ],
)
def test_a_text_that_goes_on_is_split_as_far_as_it_is(text, parts):
    assert split_so_far(text) == parts
