"""Files of predictions, and a run's own lines, that are damaged or too much."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.driver.infer import read_asked
from keomni_rl.errors import DataError
from keomni_rl.evaluation.official import official_report
from keomni_rl.evaluation.predictions import read_joined, read_prediction_file
from keomni_rl.evaluation.score import compare_files, score_file
from keomni_rl.evaluation.summary import read_summary, write_summary
from keomni_rl.observe.sinks import MetricsWriter, read_lines, truncate_metrics
from tests.odd_values import damaged, json_values, sparse, taken_or_refused

KEY = "model_output"
ROW = {
    "id": "a",
    "audio_id": "a.wav",
    "question": "What?",
    "choices": ["dog", "cat"],
    "answer": "dog",
    "task": "sound",
    "difficulty": "easy",
    "category": "Reasoning",
    "sub-category": "Counting",
    "model_output": "dog",
    "model_output_raw": "<think>hm</think><answer>dog</answer>",
    "finish_reason": "stop",
    "error": None,
    "num_tokens": 3,
    "policy_version": 2,
    "samples": ["dog", "cat"],
}


def write(folder: Path, *rows: object) -> Path:
    path = folder / "said.json"
    path.write_text(json.dumps(list(rows)))
    return path


@pytest.mark.parametrize("start", [b'[{"id": "', b'{"id": "', b'{"id": "a"}\n{"id": "', b""])
def test_a_line_of_a_gibibyte_is_not_read(inside, memory_below, start):
    path = sparse(inside / "said.jsonl", start=start, end=b'"}\n')
    with memory_below(2**24), pytest.raises(DataError, match="said.jsonl: 1073741824 bytes, over"):
        read_prediction_file(path, key=KEY)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_another_encoding_is_named(inside, encoding):
    text = json.dumps([ROW | {"question": "é?"}], ensure_ascii=False)
    (inside / "said.json").write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match="said.json: (not a text file .*UTF-8|line 1: not a JSON)"):
        read_prediction_file(inside / "said.json", key=KEY)


def test_a_byte_order_mark_is_read(inside):
    for text in (json.dumps([ROW]), json.dumps(ROW) + "\n"):
        (inside / "said.json").write_text(text, encoding="utf-8-sig")
        assert read_prediction_file(inside / "said.json", key=KEY).questions[0].id == "a"


@pytest.mark.parametrize("value", [["a"], {"a": 1}, True, 1.5])
def test_an_id_that_is_none_is_named_with_its_entry(inside, value):
    with pytest.raises(DataError, match="said.json, entry 2: 'id' is .*wanted text or a whole"):
        read_prediction_file(write(inside, ROW, ROW | {"id": value}), key=KEY)


def test_a_hundred_choices_are_the_most(inside):
    many = ROW | {"choices": ["dog", *map(str, range(100))]}
    with pytest.raises(DataError, match="said.json, entry 1: 101 choices, wanted at most 100"):
        read_prediction_file(write(inside, many), key=KEY)


def test_what_nests_without_end_is_no_entry(inside):
    deep = "[" * 100 + "]" * 100
    (inside / "said.json").write_text(f'[{{"id": "a", "note": {deep}}}]')
    with pytest.raises(DataError, match="said.json: not JSON .nested more than 64 deep"):
        read_prediction_file(inside / "said.json", key=KEY)
    (inside / "said.json").write_text(f'{{"id": "a"}}\n{{"id": "a", "note": {deep}}}\n')
    with pytest.raises(DataError, match="said.json, line 2: not a JSON object .nested"):
        read_prediction_file(inside / "said.json", key=KEY)


def test_odd_ids_are_quoted_and_cut_in_messages(inside):
    odd = ["\ud800", "\x1b[2J", "n" * 5_000, "line\nbreak"]
    rows = [{k: v for k, v in ROW.items() if k != KEY} | {"id": name} for name in odd]
    notes = read_prediction_file(write(inside, ROW, *rows), key=KEY).notes
    assert r"'\ud800', '\x1b[2J', 'nnnn" in notes[0]
    assert r"'line\nbreak'" in notes[0]
    assert len(notes[0]) < 400
    notes[0].encode()


@settings(max_examples=300)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(list(ROW)), json_values, max_size=2)
        | st.sampled_from(list(ROW)),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
def test_any_entries_are_scored_or_refused(tmp_path_factory, changes, one_a_line):
    folder = tmp_path_factory.getbasetemp()
    rows = [ROW | {"id": str(n)} for n in range(len(changes))]
    for row, change in zip(rows, changes, strict=True):
        if isinstance(change, dict):
            row.update(change)
        else:
            del row[change]
    path = write(folder, *rows)
    if one_a_line:
        path.write_text("\n".join(map(json.dumps, rows)))

    def score():
        file = read_prediction_file(path, key=KEY)
        summary = score_file(file, think=None, think_max_words=50)
        write_summary(folder / "summary.json", summary)
        assert read_summary(folder / "summary.json") == summary
        assert compare_files(file, file, names=("a", "b")).total.difference == 0
        "".join(file.notes).encode()

    taken_or_refused(score)
    taken_or_refused(lambda: official_report(read_joined(path, key=KEY, questions=None)[0], KEY))


ARRAY = json.dumps([ROW, ROW | {"id": "b"}], indent=1).encode()
LINES = (json.dumps(ROW) + "\n" + json.dumps(ROW | {"id": "b"}) + "\n").encode()


@settings(max_examples=200)
@given(damaged([ARRAY, LINES]))
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "said.json"
    path.write_bytes(content)
    taken_or_refused(lambda: read_prediction_file(path, key=KEY), str(path))
    taken_or_refused(lambda: read_lines(path), str(path))
    taken_or_refused(lambda: read_asked(path), str(path))


def test_a_runs_own_line_of_a_gibibyte_is_named_and_not_read(inside, memory_below):
    path = sparse(inside / "metrics.jsonl", start=b'{"step": 1}\n', end=b"\n")
    with (
        memory_below(2**28),
        pytest.raises(DataError, match="metrics.jsonl, line 2: over 67108864 bytes"),
    ):
        read_lines(path)


@pytest.mark.parametrize(
    "line", ['{"loss": 1}', '{"step": "1"}', '{"step": null}', '{"step": [1]}']
)
def test_a_line_of_metrics_without_its_step_is_named(inside, line):
    (inside / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n')
    with pytest.raises(DataError, match=r"metrics.jsonl: a line without its step, {"):
        truncate_metrics(inside, 1)
    with pytest.raises(DataError, match=r"metrics.jsonl: a line without its step, {"):
        MetricsWriter(inside, tensorboard=False).add_evaluations({1: {"evaluation/accuracy": 0.5}})
