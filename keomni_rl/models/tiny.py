"""Builds a random checkpoint of about three million parameters in a family's true shape.

Every part is real (audio tower, language model, processor, chat template), only small, so that the
engines that serve and train 7 billion parameters do the same here on two CPU cores. What differs
between families is in the families; this is what they share.
"""

import json
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, Qwen2Tokenizer, WhisperFeatureExtractor

from keomni_rl.data.audio import NUM_MEL_BINS, SAMPLE_RATE_HZ
from keomni_rl.models.family import FAMILIES, Family
from keomni_rl.models.layout import write_tensors

VOCABULARY = 768
"""Byte-level tokens at most, before the special ones."""
WINDOW_S = 30
"""What the feature extractor pads to; where the family can, a longer clip is still taken whole."""

AUDIO_TOKENS = {
    "audio_token": "<|AUDIO|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}
TEXT: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
"""A Qwen2 decoder with heads of 64, of which vLLM's CPU attention needs at least 32."""
AUDIO: dict[str, Any] = {
    "num_mel_bins": NUM_MEL_BINS,
    "d_model": 128,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 256,
}
"""A Whisper encoder."""


def train_tokenizer(texts: Iterable[str], named_tokens: Mapping[str, str]) -> Qwen2Tokenizer:
    """A byte-level BPE tokenizer learnt from ``texts``, with a family's special tokens."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    bpe = json.loads(trained.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=bpe["vocab"],
        merges=[tuple(pair) for pair in bpe["merges"]],
        unk_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={**named_tokens, "im_start_token": "<|im_start|>"},
        model_max_length=TEXT["max_position_embeddings"],
    )


def feature_extractor() -> WhisperFeatureExtractor:
    """Whisper's, with the bins that the audio towers expect."""
    return WhisperFeatureExtractor(
        feature_size=NUM_MEL_BINS, sampling_rate=SAMPLE_RATE_HZ, chunk_length=WINDOW_S
    )


def build_tiny(out: Path, texts: Iterable[str], *, seed: int, family: str = "qwen2_5_omni") -> Path:
    """Write a random checkpoint to ``out``; the same seed gives the same bytes.

    Args:
        out: folder to make, in the family's first layout.
        texts: what the tokenizer learns from: prompts and answers as they will be seen.
        seed: of the weights.
        family: a key of ``FAMILIES``.
    """
    built_for: Family = import_module(FAMILIES[family]).FAMILY
    layout = built_for.layouts[0]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network, processor = built_for.build_tiny(texts)
    out.mkdir(parents=True, exist_ok=True)
    config = json.loads(network.config.to_json_string(use_diff=False)) | {"dtype": "float32"}
    (out / "config.json").write_text(json.dumps(layout.convert(config), indent=2) + "\n")
    GenerationConfig(
        eos_token_id=processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
        do_sample=False,
    ).save_pretrained(out)
    processor.save_pretrained(out)
    write_tensors(out, ((layout.stored_name(n), t) for n, t in network.state_dict().items()))
    return out
