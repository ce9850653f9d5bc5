"""A tiny Qwen2.5-Omni with a voice, as the hub has it: talker and token2wav beside the thinker."""

import json
from pathlib import Path

import torch

from keomni_rl.models.layout import read_tensors, write_shell

TALKER = {
    "vocab_size": 64,
    "embedding_size": 256,  # the thinker's width
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
    "max_position_embeddings": 256,
}
TOKEN2WAV = {
    "dit_config": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "head_dim": 32,
        "emb_dim": 16,
        "look_ahead_layers": [0],
        "look_backward_layers": [0],
        "num_embeds": 65,
        "enc_emb_dim": 8,
        "enc_dim": 8,
        "enc_channels": [8, 8, 8, 8, 24],
        "enc_attention_channels": 4,
        "enc_se_channels": 4,
    },
    "bigvgan_config": {
        "upsample_initial_channel": 64,
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3, 5]],
        "upsample_rates": [2],
        "upsample_kernel_sizes": [4],
    },
}


def build_voiced_omni(out: Path, thinker: Path) -> Path:
    """Give a tiny thinker a random voice; several shards, and a pickle as the hub's has."""
    from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

    write_shell(out, thinker, "full")
    config = Qwen2_5OmniConfig(
        thinker_config=json.loads((thinker / "config.json").read_text()),
        talker_config=TALKER,
        token2wav_config=TOKEN2WAV,
        enable_audio_output=True,
        dtype="float32",
    )
    torch.manual_seed(1)
    model = Qwen2_5OmniForConditionalGeneration(config)
    model.thinker.load_state_dict(dict(read_tensors(thinker)))
    model.save_pretrained(out, max_shard_size="4MB")
    torch.save({"Chelsie": {"bos_token": 1}}, out / "spk_dict.pt")
    return out
