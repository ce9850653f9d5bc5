import pytest

from keomni_rl.cli.model import _asked
from keomni_rl.errors import DataError


def test_the_command_line_takes_one_question_or_a_file(tmp_path):
    file = tmp_path / "asked.jsonl"
    file.write_text('{"question": "And this?", "audio": "a.wav"}\n')
    audio = tmp_path / "a.wav"
    assert [q.question for q in _asked("What?", audio, ["a", "b"], None)] == ["What?"]
    assert [q.question for q in _asked(None, None, [], file)] == ["And this?"]
    for given in ((None, audio, [], None), ("What?", None, [], None), (None, None, [], None)):
        with pytest.raises(DataError, match="give --audio FILE"):
            _asked(*given)
    with pytest.raises(DataError, match="not both"):
        _asked("What?", audio, [], file)
    for choices in (["a"], ["a", "a"]):
        with pytest.raises(DataError, match="wanted two or more different ones"):
            _asked("What?", audio, choices, None)
