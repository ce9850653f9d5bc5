"""Model folders that hold pickles, ask for code, or describe what cannot be."""

import json
import pickle
import shutil
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from keomni_rl.errors import CheckpointError
from keomni_rl.models.audio_prompt import end_ids
from keomni_rl.models.family import find_family
from keomni_rl.models.hub import is_here, local_model
from keomni_rl.models.layout import INDEX, find_layout, stored_dtype, weight_files
from tests.odd_values import Evil, json_values, sparse, taken_or_refused, texts

MIB = 2**20
SHARD = "model-00001.safetensors"


@pytest.fixture
def folder(inside, tiny_model) -> Path:
    """A model that a test may spoil."""
    return shutil.copytree(tiny_model, inside / "model")


def describe(folder: Path) -> None:
    """Everything that is asked of a model before it is loaded, and a prompt."""
    family = find_family(folder)
    find_layout(folder)
    stored_dtype(folder)
    weight_files(folder)
    processor = family.load_processor(folder)
    end_ids(folder, processor)
    family.forbidden_tokens(processor)
    assert len(family.prompt_ids(processor, "heard", 102)) > 25


def load(folder: Path) -> None:
    describe(folder)
    find_family(folder).load(folder, torch.float32)


def change(file: Path, **values: object) -> None:
    """Change keys of a JSON file; a dot leads into a part."""
    tree = json.loads(file.read_text())
    for key, value in values.items():
        *parts, last = key.split(".")
        part = tree
        for name in parts:
            part = part[name]
        part[last] = value
    file.write_text(json.dumps(tree))


def evil_code(folder: Path) -> Path:
    mark = folder.parent / "it ran"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Evil: ...\n")
    return mark


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "processor_config.json"])
@pytest.mark.parametrize(
    "more",
    [
        {"trust_remote_code": True},
        {"tokenizer_class": "Evil", "processor_class": "Evil", "architectures": ["Evil"]},
        {"auto_map": {"AutoTokenizer": ["stranger/evil--evil.Evil", None]}},
        {"custom_pipelines": {"evil": {"impl": "evil.Evil", "pt": ["Evil"]}}},
        {"attn_implementation": "stranger/evil-kernel", "_attn_implementation": "stranger/evil"},
        {"quantization_config": {"quant_method": "evil", "modules_to_not_convert": []}},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_asks_for_code_gets_none(folder, file, more):
    """It is of no effect, or an error; what only another machine has is not asked for."""
    mark = evil_code(folder)
    auto_map = dict.fromkeys(["AutoConfig", "AutoModel", "AutoProcessor"], "evil.Evil")
    change(folder / file, **({"auto_map": auto_map} | more))
    taken_or_refused(lambda: load(folder), str(folder))
    assert not mark.exists()


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('touch {mark}') }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ messages.append(1) }}",
        "{{ raise_exception('no') }}",
        "{{ 1 / 0 }}",
        "{{ unknown.attribute }}",
        "{% for",
        "{{ 'x' * messages }}",
        "",
        "{{ messages[0]['content'][0]['type'] }}",
        "<|audio_bos|><|AUDIO|><|audio_eos|>" * 2,
    ],
)
def test_a_chat_template_that_reaches_out_or_says_nothing_is_refused(folder, template):
    mark = evil_code(folder)
    (folder / "chat_template.jinja").write_text(template.replace("{mark}", str(mark)))
    with pytest.raises(CheckpointError, match="chat template"):
        describe(folder)
    assert not mark.exists()


def test_a_pickle_instead_of_weights_is_never_opened(folder):
    mark = folder.parent / "it ran"
    evil = pickle.dumps(Evil(mark))
    (folder / SHARD).rename(folder / "kept")
    for name in ("pytorch_model.bin", "model.pt", "model.pkl", "spk_dict.pt"):
        (folder / name).write_bytes(evil)
    with pytest.raises(CheckpointError, match="1 of 1 weight files are missing"):
        load(folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "pytorch_model.bin"}}))
    with pytest.raises(CheckpointError, match=f"{INDEX}: no index of"):
        load(folder)
    (folder / INDEX).unlink()
    with pytest.raises(CheckpointError, match="no .*safetensors in it; pickled weights are not"):
        load(folder)
    (folder / SHARD).write_bytes(evil)
    with pytest.raises(CheckpointError, match=f"{SHARD}: not readable as safetensors"):
        load(folder)
    (folder / "kept").rename(folder / SHARD)
    load(folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": f"../outside/{SHARD}"}}, None),
        ({"weight_map": {"a": "/etc/x.safetensors"}}, "weight files are missing, .*x.safetensors"),
        ({"weight_map": {"a": "n" * 5_000 + ".safetensors"}}, "weight files are missing"),
        ({"weight_map": {"a": "a\0.safetensors"}}, "weight files are missing"),
        ({"weight_map": {"a": 3}}, f"{INDEX}: no index"),
        ({"weight_map": ["a"]}, f"{INDEX}: no index"),
        ({"weight_map": {}}, "no .*safetensors in it"),
        ({}, f"{INDEX}: no index"),
        ([], f"{INDEX}: wanted a JSON object"),
    ],
)
def test_an_index_leads_to_no_file_outside(folder, index, message):
    (folder / INDEX).write_text(json.dumps(index))
    if message is None:
        assert weight_files(folder) == [folder / SHARD]
    else:
        with pytest.raises(CheckpointError, match=message) as error:
            weight_files(folder)
        assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "processor_config.json",
        "generation_config.json",
        INDEX,
    ],
)
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' + b"9" * 5_000],
    ids=["empty", "cut", "list", "null", "number", "text", "binary", "deep", "digits"],
)
def test_a_description_that_is_none_is_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}: (not JSON|wanted a JSON object)"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", INDEX])
def test_a_line_of_a_gibibyte_is_not_read(folder, memory_below, name):
    sparse(folder / name, start=b'{"model_type": "')
    with memory_below(2**26), pytest.raises(CheckpointError, match=f"{name}: 1073741824|{name}.*"):
        load(folder)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (struct.pack("<Q", 2**60), "header too large"),
        (struct.pack("<Q", 10) + b"{" * 10, "header"),
        (struct.pack("<Q", 100_000_000), "header|deserializ"),
    ],
)
def test_weights_with_a_header_that_lies_are_refused(folder, start, message):
    (folder / SHARD).write_bytes(start + b" " * 50)
    with pytest.raises(CheckpointError, match=f"{SHARD}: not readable as safetensors .*{message}"):
        load(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", ["qwen2_5_omni_thinker"], "is of no known family"),
        ("model_type", {"a": 1}, "is of no known family"),
        ("model_type", "../evil", "is of no known family"),
        ("model_type", "e" * 5_000, "is of no known family"),
        ("dtype", "load", "names the type 'load', wanted one of bfloat16"),
        ("audio_config.encoder_layers", 10**9, "encoder_layers is 1000000000, wanted at most 1000"),
        ("text_config.num_hidden_layers", 10**9, "num_hidden_layers is 1000000000, wanted at most"),
        ("vision_config.depth", 10**9, "depth is 1000000000, wanted at most 1000"),
        ("text_config.vocab_size", 10**9, "by its config.json .1000000000, "),
        ("text_config.intermediate_size", 10**8, "by its config.json"),
        ("text_config.hidden_size", 10**6, "its config.json|cannot be loaded"),
        ("text_config.hidden_size", -1, "cannot be loaded"),
        ("text_config.num_attention_heads", 0, "cannot be loaded"),
        ("text_config", "evil", "cannot be loaded"),
        ("audio_config", None, "weights are missing|by its config.json|cannot be loaded"),
    ],
)
def test_a_config_that_does_not_go_with_the_weights_is_refused(
    folder, memory_below, key, value, message
):
    change(folder / "config.json", **{key: value})
    with memory_below(64 * MIB), pytest.raises(CheckpointError, match=message) as error:
        load(folder)
    assert len(str(error.value)) < 1_000


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        (
            "processor_config.json",
            "feature_extractor.feature_size",
            10**6,
            "feature_size is 1000000",
        ),
        ("processor_config.json", "feature_extractor.n_fft", 10**9, "n_fft is 1000000000"),
        ("processor_config.json", "feature_extractor", 3, "cannot be loaded"),
        ("tokenizer_config.json", "model_max_length", "evil", "cannot be loaded"),
        ("tokenizer.json", "model", 3, "cannot be loaded"),
        ("tokenizer.json", "pre_tokenizer", {}, "cannot be loaded"),
        ("generation_config.json", "eos_token_id", "evil", "eos_token_id is 'evil', wanted ids"),
        ("generation_config.json", "eos_token_id", [1, [2]], "eos_token_id is .*wanted ids"),
    ],
)
def test_a_processor_that_cannot_be_is_refused(folder, name, key, value, message):
    change(folder / name, **{key: value})
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_a_tokenizer_is_not_made_up(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer \(tokenizer.json, or vocab.json and"):
        load(folder)


@pytest.mark.parametrize(
    "name",
    [
        "a--b/c",
        "a..b/c",
        "a/b.git",
        "é/ü",
        "a/b\n",
        "-a/b",
        "a/" + "b" * 97,
        "x" * 300,
        "a\0/b",
        "https://example.org/a/b",
        "a/b:c",
        "a/b@main",
        "~/model",
        "a/../b",
    ],
)
def test_what_can_be_no_hub_name_is_refused_without_asking_anyone(name):
    assert is_here(Path(name))
    with pytest.raises(CheckpointError, match="no such model folder, and not a hub name") as error:
        local_model(Path(name), offline=True)
    assert len(str(error.value)) < 600


def places(tree: object, before: tuple = ()) -> list[tuple]:
    inner = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree[:2] if isinstance(tree, list) else ())
    )
    found = [before] if before else []
    for key, part in inner:
        found += places(part, (*before, key))
    return found


@settings(max_examples=40)
@given(data=st.data())
def test_any_value_in_a_description_is_taken_or_refused(tiny_model, tmp_path_factory, data):
    copy = tmp_path_factory.getbasetemp() / "fuzzed"
    if not copy.exists():
        shutil.copytree(tiny_model, copy)
    names = ["config.json", "tokenizer.json", "tokenizer_config.json", "processor_config.json"]
    name = data.draw(st.sampled_from(names))
    tree = json.loads((tiny_model / name).read_text())
    *parts, last = data.draw(st.sampled_from(places(tree)))
    part = tree
    for key in parts:
        part = part[key]
    part[last] = data.draw(json_values | texts | st.sampled_from([10**6, 10**9, -1, [[]]]))
    (copy / name).write_text(json.dumps(tree))
    try:
        taken_or_refused(lambda: load(copy))
    finally:
        shutil.copyfile(tiny_model / name, copy / name)
