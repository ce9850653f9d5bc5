"""Configuration files and overrides that are damaged, too much, or try to do something."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.config import RunConfig, load_config, to_yaml
from keomni_rl.errors import ConfigError
from tests.odd_values import json_values, sparse, taken_or_refused, texts

BASE = {"run_dir": "r", "model": {"path": "m"}, "data": {"train": ["a.jsonl"]}}
LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
FILES = [
    ("run_dir: [\n", "YAML .*line 2"),
    ("run_dir: r\nmodel\n", "YAML .*line 2"),
    ("run_dir: r\nrun_dir: s\n", "YAML .*duplicate key run_dir"),
    ("run_dir: r\n---\nrun_dir: s\n", "YAML .*another document"),
    ("- run_dir\n", "wanted a mapping"),
    ("run_dir", "'model' is missing"),
    ("", "'run_dir' is missing.*'model' is missing.*'data' is missing"),
    ("run_dir: r\nmodel: {path: m}\n", "'data' is missing"),
    ("run_dir: a\0b\n", "YAML .*control characters"),
    ('run_dir: "a\\0b"\n', "run_dir: .* is no value"),
    ("run_dir: ${oc.env:HOME}\n", "run_dir: .* is no value; write it out"),
    ("run_dir: ${\n", "YAML"),
    ("run_dir: ???\n", r"run_dir: '\?\?\?' is no value"),
    ("data: {train: [{file: '${x}'}]}\n", "data.train.0.file: .* is no value"),
    ("run_dir: !!int x\n", "YAML"),
    ("run_dir: !!bool x\n", "YAML"),
    ("run_dir: !!timestamp x\n", "YAML"),
    ("run_dir: !!float x\n", "YAML"),
    ("a: !!int ''\n", "YAML"),
    ("run_dir: !unknown x\n", "YAML .*line 1"),
    ("train: {seed: " + "9" * 5_000 + "}\n", "YAML .*4300 digits"),
    ("a: " + "[" * 5_000, "YAML .*depth"),
    ("a: " + "[" * 250 + "]" * 250, "YAML .*recursion"),
    ("a: " + "{a: " * 250 + "1" + "}" * 250, "YAML .*recursion"),
    ("a: &a [*a]\n", "YAML .*recursive"),
    ("null: 1\n", "YAML .*key"),
    ("? [a]\n: 1\n", "YAML .*key"),
    ("run_dir: !!binary aGVsbG8=\n", "run_dir: .*path"),
]


@pytest.mark.parametrize(("text", "message"), FILES, ids=[text[:30] for text, _ in FILES])
def test_a_bad_file_is_one_clear_error(inside, text, message):
    path = inside / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"(?s){message}") as error:
        load_config(RunConfig, [str(path)])
    assert "YAML" not in message or str(path) in str(error.value)
    assert len(str(error.value)) < 1_000


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1", "shift_jis"])
def test_another_encoding_is_named(inside, encoding):
    path = inside / "other.yaml"
    path.write_bytes(
        "run_dir: é\n".replace("é", "日" if encoding == "shift_jis" else "é").encode(encoding)
    )
    with pytest.raises(ConfigError, match="other.yaml: not readable as YAML .*'utf-8' codec"):
        load_config(RunConfig, [str(path)])


def test_a_byte_order_mark_is_read(inside):
    (inside / "marked.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8-sig")
    assert load_config(RunConfig, [str(inside / "marked.yaml")]).run_dir.name == "r"


@pytest.mark.parametrize(
    "text",
    [
        "run_dir: !!python/object/apply:os.system ['touch {mark}']\n",
        "run_dir: !!python/object/new:os.system ['touch {mark}']\n",
        "run_dir: !!python/name:os.system\n",
        "run_dir: !!python/module:os\n",
    ],
)
def test_a_file_that_asks_for_code_runs_none(inside, text):
    path = inside / "evil.yaml"
    path.write_text(text.format(mark=inside / "it ran"))
    with pytest.raises(ConfigError, match="evil.yaml: not readable as YAML .*constructor"):
        load_config(RunConfig, [str(path)])
    assert not (inside / "it ran").exists()


def test_aliases_that_would_fill_memory_are_refused(inside, memory_below):
    (inside / "laughs.yaml").write_text(LAUGHS)
    with memory_below(2**24), pytest.raises(ConfigError, match="laughs.yaml: .*expansion"):
        load_config(RunConfig, [str(inside / "laughs.yaml")])


def test_a_line_of_a_gibibyte_is_not_read(inside, memory_below):
    path = sparse(inside / "huge.yaml", start=b"run_dir: ")
    with memory_below(2**24), pytest.raises(ConfigError, match="huge.yaml: 1073741824 bytes, over"):
        load_config(RunConfig, [str(path)])


def test_many_complaints_are_told_in_few_lines(inside):
    (inside / "bad.yaml").write_text(
        "reward: {weights: {" + "a: x, b: x, " + ", ".join(f"k{n}: x" for n in range(2_000)) + "}}"
    )
    with pytest.raises(ConfigError, match=r"and 1985 more") as error:
        load_config(RunConfig, [str(inside / "bad.yaml")])
    assert len(str(error.value).splitlines()) == 21


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("x" * 300, "no such configuration file"),
        ("x" * 300 + ".yaml", "no such configuration file"),
        ("a\0b.yaml", "no such configuration file"),
        (".", "no such configuration file"),
        ("a=[", "not a section.key=value override"),
        ("a=" + "9" * 5_000, "not a section.key=value override"),
        ("a=" + "[" * 300 + "]" * 300, "not a section.key=value override"),
        (".".join("a" * 5_000) + "=1", "override|unknown configuration key|missing"),
        ("[=1", "not a section.key=value override"),
        ("run_dir='\udcff'", "not a section.key=value override"),
        ("a=!!python/name:os.system", "not a section.key=value override"),
        ("run_dir=${oc.env:HOME}", "is no value"),
    ],
)
def test_a_bad_word_is_one_clear_error(word, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_config(RunConfig, [word])
    assert len(str(error.value)) < 1_000


def keys(tree: dict, before: str = "") -> list[str]:
    found = []
    for name, value in tree.items():
        found += [
            before + name,
            *(keys(value, f"{before}{name}.") if isinstance(value, dict) else ()),
        ]
    return found


DEFAULT = load_config(RunConfig, ["run_dir=r", "model.path=m", "data.train=[a.jsonl]"])
KEYS = keys(DEFAULT.model_dump(mode="json"))


@settings(max_examples=150)
@given(key=st.sampled_from(KEYS), value=json_values, data=st.data())
def test_any_value_under_any_key_is_taken_or_refused(tmp_path_factory, key, value, data):
    path = tmp_path_factory.getbasetemp() / "base.yaml"
    path.write_text(yaml.safe_dump(BASE))
    words = [str(path), f"{key}={json.dumps(value)}"]

    def load():
        config = load_config(RunConfig, words)
        path.write_text(to_yaml(config))
        assert to_yaml(load_config(RunConfig, [str(path)])) == to_yaml(config)

    taken_or_refused(load)


@settings(max_examples=150)
@given(
    st.text(max_size=200)
    | st.binary(max_size=200)
    | st.lists(texts | st.sampled_from(list("[]{}:&*!-?,\n")), max_size=30).map("".join)
)
def test_any_text_is_a_configuration_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="replace"))
    assert not taken_or_refused(lambda: load_config(RunConfig, [str(path)]))


@settings(max_examples=100)
@given(st.lists(texts | st.sampled_from([*KEYS, "=", ".", "[", "]"]), max_size=6).map("".join))
def test_any_word_is_an_override_or_refused(word):
    taken_or_refused(lambda: load_config(RunConfig, [word.replace(".yaml", "")]))
