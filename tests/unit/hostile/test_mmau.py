"""MMAU files that are damaged, too much, or name sounds elsewhere; held-out files likewise."""

import json
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.config.schema import PromptConfig
from keomni_rl.data.evaluation_set import read_evaluation_set
from keomni_rl.data.mmau import AUDIO_FOLDERS, find_version, read_mmau, write_predictions
from keomni_rl.data.prompts import make_prompt
from keomni_rl.errors import DataError
from tests.odd_values import damaged, json_values, sparse, taken_or_refused

GOOD = {
    "id": "a",
    "audio_id": "./test-mini-audios/a.wav",
    "question": "What?",
    "choices": ["dog ", "cat"],
    "answer": "cat",
    "task": "sound",
    "difficulty": "easy",
    "category": "Reasoning",
    "sub-category": "Counting",
}


def write(folder: Path, *records: object) -> Path:
    path = folder / "mmau.json"
    path.write_text(json.dumps(list(records)))
    return path


@pytest.mark.parametrize("key", ["id", "audio_id", "question", "choices", "task", "difficulty"])
def test_a_missing_key_is_named_with_its_entry(inside, key):
    bad = {k: v for k, v in GOOD.items() if k != key}
    with pytest.raises(DataError, match=f"mmau.json, entry 2: no '{key}'; MMAU's entries have id"):
        read_mmau(write(inside, GOOD, bad))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "'id' is None, wanted text or a whole number"),
        ({"id": ["a"]}, r"'id' is \['a'\], wanted text"),
        ({"id": True}, "'id' is True, wanted text"),
        ({"audio_id": None}, "'audio_id' is None, wanted text"),
        ({"audio_id": ["a.wav"]}, r"'audio_id' is \['a.wav'\], wanted text"),
        ({"audio_id": " "}, "'audio_id' is ' ', wanted text"),
        ({"choices": "cat dog"}, "'choices' is 'cat dog', wanted a list of texts"),
        ({"choices": {"a": "cat", "b": "dog"}}, "'choices' is .*wanted a list of texts"),
        ({"choices": ["cat"] * 101}, "101 choices, wanted at most 100"),
        ({"answer": "cow"}, "the answer 'cow' is not among the choices"),
        ({"answer": ["cat"]}, r"the answer \['cat'\] is not among the choices"),
        ({"answer": "cow " * 9_999}, "the answer 'cow cow .* is not among the choices"),
        ({"task": ["sound"]}, r"task \['sound'\], difficulty 'easy'; wanted one of"),
        ({"task": {"a": "b" * 9_999}}, "task .*wanted one of"),
        ({"audio_id": "http://example.org/a.wav"}, "is a URL, and none is ever fetched"),
        ({"audio_id": "../outside/kept.wav"}, "lies outside"),
        ({"audio_id": "/etc/passwd"}, "lies outside"),
        ({"audio_id": "link.wav"}, "lies outside"),
        ({"audio_id": "/an/authors/link.wav"}, "lies outside"),
        ({"audio_id": "./test-mini-audios/link.wav"}, "lies outside"),
        ({"audio_id": "a/" * 3_000}, "is no path"),
    ],
)
def test_a_bad_entry_is_named(inside, outside, change, message):
    clips = inside / AUDIO_FOLDERS[0]
    clips.mkdir()
    for link in (inside / "link.wav", clips / "link.wav"):
        link.symlink_to(outside)
    with pytest.raises(DataError, match=f"mmau.json, entry 2: .*{message}") as error:
        read_mmau(write(inside, GOOD, GOOD | {"id": "b"} | change))
    assert len(str(error.value)) < 600


def test_an_authors_path_that_exists_here_is_not_opened(inside, outside):
    clip = inside / AUDIO_FOLDERS[0] / outside.name
    clip.parent.mkdir()
    clip.touch()
    (question,) = read_mmau(write(inside, GOOD | {"audio_id": str(outside)}))
    assert question.audio == str(clip.resolve())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xef\xbb\xbf", "not JSON"),
        (b'[{"id": "a",', "not JSON .*line 1 column 13"),
        (b'[\n{"id": "a"},\n{"id": b}]', "not JSON .*line 3"),
        (b"[]", "wanted a JSON array of questions"),
        (b"{}", "wanted a JSON array of questions"),
        (b"[" * 100_000, "not JSON"),
        (b"[" * 500 + b"]" * 500, "not JSON .nested more than 64 deep"),
        (json.dumps([GOOD]).encode("utf-16"), "not JSON .*'utf-8' codec"),
        (json.dumps([GOOD | {"id": "é"}], ensure_ascii=False).encode("latin-1"), "not JSON"),
        (b'{"id": "a"}\n{"id": "b"}\n', "not JSON"),
    ],
)
def test_a_bad_file_is_named(inside, content, message):
    (inside / "mmau.json").write_bytes(content)
    with pytest.raises(DataError, match=f"mmau.json: {message}"):
        read_mmau(inside / "mmau.json")


def test_a_line_of_a_gibibyte_is_not_read(inside, memory_below):
    path = sparse(inside / "mmau.json", start=b'[{"id": "', end=b'"}]')
    with memory_below(2**24), pytest.raises(DataError, match="mmau.json: 1073741824 bytes, over"):
        read_mmau(path)


def test_a_byte_order_mark_is_read(inside):
    (inside / "mmau.json").write_text(json.dumps([GOOD]), encoding="utf-8-sig")
    assert read_mmau(inside / "mmau.json")[0].id == "a"


@settings(max_examples=300)
@given(
    st.lists(st.dictionaries(st.sampled_from(list(GOOD)), json_values, max_size=3), max_size=3),
    st.lists(json_values, max_size=1),
)
def test_any_entries_are_questions_or_refused(tmp_path_factory, changes, others):
    folder = tmp_path_factory.getbasetemp()
    path = write(folder, *(GOOD | change for change in changes), *others)

    def use():
        questions = read_mmau(path)
        assert all(Path(q.audio).is_relative_to(folder.resolve()) for q in questions)
        assert find_version(questions) == "custom"
        write_predictions(folder / "out.json", questions, {})
        assert len(json.loads((folder / "out.json").read_bytes())) == len(questions)

    taken_or_refused(use, str(path))


@settings(max_examples=150)
@given(damaged([json.dumps([GOOD, GOOD | {"id": "b"}], indent=1).encode()]))
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "mmau.json"
    path.write_bytes(content)

    def use():
        for question in read_evaluation_set(path):
            taken_or_refused(partial(make_prompt, question, PromptConfig(), is_evaluation=True))

    taken_or_refused(use, str(path))
