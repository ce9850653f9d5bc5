import json
import os
import struct
import subprocess
import sys
import textwrap

import pytest
import torch

from keomni_rl.errors import CheckpointError
from keomni_rl.models.family import find_family
from keomni_rl.models.layout import INDEX, read_tensors, write_shell, write_tensors
from tests.voiced_omni import build_voiced_omni


def test_the_trained_part_has_no_vision_tower(tiny_model):
    names = [
        n for n, _ in find_family(tiny_model).load(tiny_model, torch.float32).named_parameters()
    ]
    assert any(n.startswith("audio_tower.") for n in names)
    assert not any(n.startswith("visual.") for n in names)


def test_towers_and_decoders_are_where_the_family_says(any_model):
    family = find_family(any_model)
    network = family.load(any_model, torch.float32)
    tower = network.get_submodule(family.audio_tower)
    decoder = network.get_submodule(family.language_model)
    assert (len(tower.layers), len(decoder.layers)) == (2, 4)
    assert decoder.layers[0].self_attn.q_proj.in_features == 256


def test_a_talker_is_never_brought_into_memory(tiny_model, tmp_path):
    """Its shard is a gigabyte that would show in the process' peak; the thinker is 12 MB."""
    full = build_voiced_omni(tmp_path / "full", tiny_model)
    num_bytes = 2**30
    spec = {"dtype": "F32", "shape": [num_bytes // 4], "data_offsets": [0, num_bytes]}
    header = json.dumps({"talker.more.weight": spec}).encode()
    shard = full / "model-talker.safetensors"
    shard.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(shard, shard.stat().st_size + num_bytes)
    index = json.loads((full / INDEX).read_text())
    index["weight_map"]["talker.more.weight"] = shard.name
    (full / INDEX).write_text(json.dumps(index))
    code = """
    import resource, sys, torch
    from pathlib import Path
    from keomni_rl.models.family import find_family
    full, thinker = map(Path, sys.argv[1:])
    family = find_family(full)
    first = family.load(thinker, torch.float32).state_dict()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network = family.load(full, torch.float32)
    assert {n: float(t.double().sum()) for n, t in network.state_dict().items()} == {
        n: float(t.double().sum()) for n, t in first.items()
    }
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(full), str(tiny_model)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout.split()[-1]) < 100_000  # KiB
    assert "UNEXPECTED" not in done.stdout + done.stderr


def test_missing_and_misshapen_weights_are_refused(any_model, tmp_path):
    family = find_family(any_model)
    tensors = {family.wire_name(name): t for name, t in read_tensors(any_model)}
    lost = next(name for name in tensors if name.endswith("layers.2.mlp.up_proj.weight"))
    write_shell(tmp_path / "a", any_model, "full")
    write_tensors(tmp_path / "a", ((n, t) for n, t in tensors.items() if n != lost))
    with pytest.raises(CheckpointError, match="1 weights are missing.*layers.2.mlp.up_proj"):
        family.load(tmp_path / "a", torch.float32)
    write_shell(tmp_path / "b", any_model, "full")
    write_tensors(tmp_path / "b", (tensors | {lost: torch.zeros(3, 3)}).items())
    with pytest.raises(CheckpointError, match="up_proj.weight.* is .3, 3., and by its config.json"):
        family.load(tmp_path / "b", torch.float32)


def test_code_that_a_checkpoint_brings_is_never_run(any_model, tmp_path):
    """Every file that may name remote code does, and the code would leave a mark."""
    write_shell(tmp_path, any_model, "full")
    write_tensors(
        tmp_path,
        ((find_family(any_model).wire_name(n), t) for n, t in read_tensors(any_model)),
    )
    mark = tmp_path / "it ran"
    (tmp_path / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Evil: ...\n")
    names = ["AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoProcessor"]
    code = dict.fromkeys(names, "evil.Evil") | {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    for name in ("config", "tokenizer_config", "processor_config", "preprocessor_config"):
        file = tmp_path / f"{name}.json"
        content = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(content | {"auto_map": code}))
    family = find_family(tmp_path)
    family.load(tmp_path, torch.float32)
    processor = family.load_processor(tmp_path)
    assert len(family.prompt_ids(processor, "heard", 102)) > 25
    assert not mark.exists()
