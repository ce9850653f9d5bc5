"""The tiny Qwen2-Audio: a Qwen2 decoder behind a Whisper encoder and a projector, a processor."""

from collections.abc import Iterable, Iterator

from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor

from keomni_rl.models.tiny import AUDIO, AUDIO_TOKENS, TEXT, feature_extractor, train_tokenizer

TURNS = "system\nYou are a helpful assistant.\nuser\nAudio 1: \nassistant\n"
"""What the chat template puts around every prompt, for the tokenizer to know."""


def tiny_processor(texts: Iterable[str]) -> Qwen2AudioProcessor:
    """The whole processor around a freshly trained tokenizer, with the family's chat template."""

    def rendered() -> Iterator[str]:
        for text in texts:
            yield TURNS
            yield text

    return Qwen2AudioProcessor(
        feature_extractor=feature_extractor(),
        tokenizer=train_tokenizer(rendered(), AUDIO_TOKENS),
    )


def tiny_network(processor: Qwen2AudioProcessor) -> Qwen2AudioForConditionalGeneration:
    """Random weights: a decoder of 4 layers of width 256, an audio tower of 2 layers."""
    tokenizer = processor.tokenizer
    return Qwen2AudioForConditionalGeneration(
        Qwen2AudioConfig(
            text_config=TEXT
            | {
                "vocab_size": len(tokenizer),
                "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
            },
            audio_config=dict(AUDIO),
            audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
        )
    )
