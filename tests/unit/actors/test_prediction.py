from keomni_rl.actors.prediction import prediction_of


def test_a_lone_surrogate_becomes_a_question_mark_in_all_samples():
    texts = ["<answer>d\ud800og</answer>", "caf\u00e9 \U0001f600 \udfff"]
    said = prediction_of("q", texts, finish_reason="stop", num_tokens=9)
    assert said.model_output == "d?og"
    assert said.model_output_raw == "<answer>d?og</answer>"
    assert said.samples == ("<answer>d?og</answer>", "caf\u00e9 \U0001f600 ?")


def test_one_text_is_no_samples():
    said = prediction_of("q", ["dog"], finish_reason="stop", num_tokens=1)
    assert (said.model_output, said.samples) == ("dog", ())
