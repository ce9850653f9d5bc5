"""The tiny Qwen2.5-Omni: a thinker with mrope, an audio tower and a vision tower, a processor."""

from collections.abc import Iterable

from transformers import (
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from keomni_rl.models.tiny import AUDIO, AUDIO_TOKENS, TEXT, feature_extractor, train_tokenizer

NAMED_TOKENS = AUDIO_TOKENS | {
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
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


def tiny_processor(texts: Iterable[str]) -> Qwen2_5OmniProcessor:
    """The whole processor around a freshly trained tokenizer."""
    return Qwen2_5OmniProcessor(
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen2VLVideoProcessor(),
        feature_extractor=feature_extractor(),
        tokenizer=train_tokenizer(texts, NAMED_TOKENS),
        chat_template=CHAT_TEMPLATE,
    )


def tiny_network(processor: Qwen2_5OmniProcessor) -> Qwen2_5OmniThinkerForConditionalGeneration:
    """A thinker with random weights: 4 layers of width 256, an audio tower of 2 layers."""
    return Qwen2_5OmniThinkerForConditionalGeneration(_config(processor))


def _config(processor: Qwen2_5OmniProcessor) -> Qwen2_5OmniThinkerConfig:
    token = processor.tokenizer.convert_tokens_to_ids
    return Qwen2_5OmniThinkerConfig(
        text_config=TEXT
        | {
            "vocab_size": len(processor.tokenizer),
            # Three parts of head_dim / 2 = 32: time, height, width.
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [8, 12, 12],
            },
        },
        audio_config=AUDIO | {"output_dim": TEXT["hidden_size"]},
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": TEXT["hidden_size"],
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
