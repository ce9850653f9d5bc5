"""A chat prompt with one clip in it: its text, its token ids, and its embeddings with the audio."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError

from keomni_rl.data.audio import TAIL_FRAMES, num_audio_tokens
from keomni_rl.errors import CheckpointError
from keomni_rl.models.family import read_object


def render_turn(processor: Any, content: Sequence[dict[str, str]]) -> str:
    """One user turn in the checkpoint's own chat template, up to the assistant's turn.

    Raises:
        CheckpointError: it has none, or one that fails, as one does that reaches for more than the
            conversation: transformers renders it in a sandbox.
    """
    try:
        rendered: str = processor.apply_chat_template(
            [{"role": "user", "content": list(content)}], tokenize=False, add_generation_prompt=True
        )
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the model's chat template cannot be rendered ({type(error).__name__}: "
            f"{error!s:.500}); download the model again"
        ) from error
    return rendered


def expanded_ids(
    processor: Any, chat_text: str, placeholder: str, num_mel_frames: int
) -> list[int]:
    """Tokenise with one placeholder for each of the audio tower's outputs.

    Args:
        processor: of the model.
        chat_text: with a single placeholder.
        placeholder: the audio token.
        num_mel_frames: of the clip's spectrogram, tail included.

    Raises:
        CheckpointError: the chat template put in another number of them.
    """
    if (times := chat_text.count(placeholder)) != 1:
        raise CheckpointError(
            f"the model's chat template names {placeholder} {times} times for one clip, wanted "
            "once; download the model again"
        )
    number = num_audio_tokens(num_mel_frames - TAIL_FRAMES)
    ids: list[int] = processor.tokenizer(chat_text.replace(placeholder, placeholder * number))[
        "input_ids"
    ]
    return ids


def known_ids(processor: Any, tokens: Sequence[str]) -> list[int]:
    """Ids of those of the tokens that this tokenizer has."""
    vocabulary = processor.tokenizer.get_vocab()
    return sorted(vocabulary[token] for token in tokens if token in vocabulary)


def end_ids(path: Path, processor: Any) -> list[int]:
    """Tokens that end an answer: the tokenizer's, and what the model's generation config adds.

    Raises:
        CheckpointError: the generation config is none, or names what is no token's id.
    """
    file = path / "generation_config.json"
    ends = read_object(file).get("eos_token_id") if file.is_file() else None
    listed = [end for end in (ends if isinstance(ends, list) else [ends]) if end is not None]
    if not all(isinstance(end, int) for end in listed):
        raise CheckpointError(f"{file}: eos_token_id is {ends!r:.80}, wanted ids of tokens")
    return sorted({processor.tokenizer.eos_token_id, *listed} - {None})


def place_audio(
    embeds_BSD: torch.Tensor, is_audio_BS: torch.Tensor, audio_AD: torch.Tensor
) -> torch.Tensor:
    """Token embeddings with audio embeddings (A of them) where the placeholders are, in order.

    Raises:
        ValueError: there are more or fewer placeholders than audio embeddings.
    """
    if int(is_audio_BS.sum()) != audio_AD.shape[0]:
        raise ValueError(
            f"{int(is_audio_BS.sum())} audio placeholders for {audio_AD.shape[0]} audio "
            "embeddings: the prompt was expanded for another clip"
        )
    return embeds_BSD.masked_scatter(is_audio_BS.unsqueeze(-1), audio_AD.to(embeds_BSD.dtype))
