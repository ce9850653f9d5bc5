"""Builds a random checkpoint of about three million parameters in the true Qwen2.5-Omni shape.

Every part is real (audio tower, language model with mrope, processor, chat template), only small,
so that the engines that serve and train 7 billion parameters do the same here on two CPU cores.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
)
from transformers.utils import logging

from keomni_rl.data.audio import NUM_MEL_BINS, SAMPLE_RATE_HZ

VOCABULARY = 768
"""Byte-level tokens at most, before the special ones."""
LONGEST_CLIP_S = 30
"""What vLLM's feature extractor pads to; a longer clip is still taken whole."""

NAMED_TOKENS = {
    "audio_token": "<|AUDIO|>",
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_tokenizer(texts: Iterable[str]) -> Qwen2Tokenizer:
    """A byte-level BPE tokenizer learnt from ``texts``, with the family's special tokens."""
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
        extra_special_tokens=NAMED_TOKENS | {"im_start_token": "<|im_start|>"},
        model_max_length=4096,
    )


def build_processor(texts: Iterable[str]) -> Qwen2_5OmniProcessor:
    """The whole processor around a freshly trained tokenizer."""
    return Qwen2_5OmniProcessor(
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen2VLVideoProcessor(),
        feature_extractor=WhisperFeatureExtractor(
            feature_size=NUM_MEL_BINS, sampling_rate=SAMPLE_RATE_HZ, chunk_length=LONGEST_CLIP_S
        ),
        tokenizer=train_tokenizer(texts),
        chat_template=CHAT_TEMPLATE,
    )


def tiny_config(processor: Qwen2_5OmniProcessor) -> Qwen2_5OmniThinkerConfig:
    """The thinker's configuration: 4 layers of width 256, an audio tower of 2 layers."""
    token = processor.tokenizer.convert_tokens_to_ids
    return Qwen2_5OmniThinkerConfig(
        text_config={
            "vocab_size": len(processor.tokenizer),
            "hidden_size": 256,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": False,
            # Three parts of head_dim / 2 = 32: time, height, width.
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [8, 12, 12],
            },
        },
        audio_config={
            "num_mel_bins": NUM_MEL_BINS,
            "d_model": 128,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 256,
            "output_dim": 256,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 256,
            "fullatt_block_indexes": [0],
        },
        audio_token_index=token("<|AUDIO|>"),
        image_token_index=token("<|IMAGE|>"),
        video_token_index=token("<|VIDEO|>"),
        audio_start_token_id=token("<|audio_bos|>"),
        audio_end_token_id=token("<|audio_eos|>"),
        user_token_id=token("<|im_start|>"),
        vision_start_token_id=token("<|vision_bos|>"),
        vision_end_token_id=token("<|vision_eos|>"),
        tie_word_embeddings=False,
    )


def build_tiny(out: Path, texts: Iterable[str], *, seed: int) -> Path:
    """Write a random thinker checkpoint to ``out``; the same seed gives the same bytes.

    Args:
        out: folder to make, in the thinker layout.
        texts: what the tokenizer learns from: prompts and answers as they will be seen.
        seed: of the weights.
    """
    processor = build_processor(texts)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2_5OmniThinkerForConditionalGeneration(tiny_config(processor))
    eos = processor.tokenizer.eos_token_id
    model.generation_config = GenerationConfig(
        eos_token_id=eos, pad_token_id=processor.tokenizer.pad_token_id, do_sample=False
    )
    out.mkdir(parents=True, exist_ok=True)
    logging.disable_progress_bar()
    model.save_pretrained(out)
    processor.save_pretrained(out)
    return out
