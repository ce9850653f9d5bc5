"""What is Qwen2-Audio's own: its encoder without the 30 s of padding, its names, its prompt."""

import numpy as np
import pytest
import torch

from keomni_rl.data.audio import log_mel
from keomni_rl.errors import CheckpointError
from keomni_rl.models.audio_prompt import end_ids
from keomni_rl.models.family import find_family, layout_named
from keomni_rl.models.qwen2_audio import FAMILY


@pytest.fixture(scope="module")
def network(qwen2_audio_model):
    return FAMILY.load(qwen2_audio_model, torch.float32).eval()


@pytest.fixture(scope="module")
def processor(qwen2_audio_model):
    return FAMILY.load_processor(qwen2_audio_model)


def test_embeddings_are_those_of_the_processors_path(network, processor):
    """Clips of many lengths at once; the model's own tower hears each padded to 30 s."""
    rng = np.random.default_rng(0)
    clips = [
        (rng.standard_normal(n) * 0.1).astype(np.float32)
        for n in (1_600, 15_999, 16_000, 16_001, 77_777, 480_000)
    ]
    inputs = processor(
        text=[FAMILY.chat_text(processor, "heard") for _ in clips],
        audio=clips,
        sampling_rate=16_000,
        padding=True,
        return_tensors="pt",
    )
    tower, project = network.model.audio_tower, network.model.multi_modal_projector
    with torch.no_grad():
        for number, clip in enumerate(clips):
            mel = log_mel(clip, window_s=30)
            ids = torch.tensor([FAMILY.prompt_ids(processor, "heard", mel.shape[1])])
            is_own = inputs["attention_mask"][number].bool()
            assert ids[0].tolist() == inputs["input_ids"][number][is_own].tolist()
            is_audio = ids[0] == network.config.audio_token_id
            mask = inputs["feature_attention_mask"][number]
            length = (int(mask.sum()) - 1) // 2 + 1
            seen = (torch.arange(1_500) < length)[None, None, None, :]
            padded = tower(inputs["input_features"][number][None], attention_mask=seen)
            expected = project(padded.last_hidden_state)[0, : int(is_audio.sum())]
            got = FAMILY.embed(network, ids, [torch.from_numpy(mel)])[0, is_audio]
            assert (got - expected).abs().max() < 1e-5
        together = torch.cat(
            [
                FAMILY.embed(network, ids, mels)[ids == network.config.audio_token_id]
                for ids, mels in [in_one_batch(network, processor, clips[:5])]
            ]
        )
        apart = torch.cat(
            [
                FAMILY.embed(network, ids, mels)[ids == network.config.audio_token_id]
                for ids, mels in (in_one_batch(network, processor, [c]) for c in clips[:5])
            ]
        )
    assert (together - apart).abs().max() < 1e-5


def in_one_batch(network, processor, clips):
    mels = [torch.from_numpy(log_mel(clip, window_s=30)) for clip in clips]
    ids = [torch.tensor(FAMILY.prompt_ids(processor, "heard", m.shape[1])) for m in mels]
    return torch.nn.utils.rnn.pad_sequence(ids, batch_first=True), mels


def test_names_on_the_wire_are_the_released_ones_and_lead_back(network):
    layout = layout_named(FAMILY, "full")
    wire = {name: FAMILY.wire_name(name) for name, _ in network.named_parameters()}
    assert wire["model.language_model.embed_tokens.weight"] == (
        "language_model.model.embed_tokens.weight"
    )
    assert wire["lm_head.weight"] == "language_model.lm_head.weight"
    assert wire["model.audio_tower.conv1.weight"] == "audio_tower.conv1.weight"
    assert wire["model.multi_modal_projector.linear.weight"] == (
        "multi_modal_projector.linear.weight"
    )
    assert len(set(wire.values())) == len(wire)
    assert {layout.own_name(stored): stored for stored in wire.values()} == wire


def test_the_prompt_is_one_turn_after_the_default_system_turn(processor):
    assert FAMILY.chat_text(processor, "What is heard?") == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nAudio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n"
        "What is heard?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_placeholders_are_forbidden_and_answers_end_at_the_end_of_turn(
    processor, qwen2_audio_model, tmp_path
):
    tokens = processor.tokenizer.convert_ids_to_tokens(FAMILY.forbidden_tokens(processor))
    assert sorted(tokens) == ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]
    eos = processor.tokenizer.eos_token_id
    assert end_ids(qwen2_audio_model, processor) == [eos]
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [3, 7]}')
    assert end_ids(tmp_path, processor) == sorted({eos, 3, 7})


def test_it_has_one_layout(qwen2_audio_model):
    assert find_family(qwen2_audio_model) is FAMILY
    with pytest.raises(CheckpointError, match="no layout 'thinker', only full"):
        layout_named(FAMILY, "thinker")
