"""The Qwen2.5-Omni family: the thinker alone is trained and served.

Two checkpoint layouts exist. "thinker": a flat config of type ``qwen2_5_omni_thinker`` and bare
parameter names, as trainers save it. "full": ``thinker_config`` inside, names that begin with
``thinker.``, as the hub and vLLM have it. Source: arXiv 2503.20215.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
)

from keomni_rl.data.audio import num_audio_tokens
from keomni_rl.models.family import read_config

AUDIO = "<|AUDIO|>"
PLACEHOLDERS = (
    AUDIO,
    "<|audio_bos|>",
    "<|audio_eos|>",
    "<|IMAGE|>",
    "<|VIDEO|>",
    "<|vision_bos|>",
    "<|vision_eos|>",
)


class Qwen2_5Omni:
    """Implements `keomni_rl.models.family.Family`."""

    name = "qwen2_5_omni"
    wire_prefix = "thinker."

    def load(self, path: Path, dtype: torch.dtype) -> Any:
        """Load the thinker without its vision tower; both layouts are accepted."""
        raw = read_config(path)
        config = Qwen2_5OmniThinkerConfig.from_dict(raw.get("thinker_config", raw))
        model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
            path,
            config=config,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
        del model.visual  # audio never reaches it; under ZeRO-3 an unused tower would be gathered
        model.config.use_cache = False
        return model

    def embed(self, model: Any, ids_BS: torch.Tensor, mels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Embed tokens and put each clip's audio features where its placeholders are."""
        embeds_BSD = model.get_input_embeddings()(ids_BS)
        frames = torch.tensor([mel.shape[1] for mel in mels], device=ids_BS.device)
        features = torch.cat([mel.to(embeds_BSD.device) for mel in mels], dim=1)
        audio = model.audio_tower(
            features.to(embeds_BSD.dtype),
            feature_lens=frames,
            aftercnn_lens=(frames - 1) // 2 + 1,
        ).last_hidden_state
        is_audio: torch.Tensor = ids_BS == model.config.audio_token_id
        if int(is_audio.sum()) != audio.shape[0]:
            raise ValueError(
                f"{int(is_audio.sum())} audio placeholders for {audio.shape[0]} audio embeddings: "
                "the prompt was expanded for another clip"
            )
        return embeds_BSD.masked_scatter(is_audio.unsqueeze(-1), audio.to(embeds_BSD.dtype))

    def decode(
        self,
        model: Any,
        embeds_BSD: torch.Tensor,
        mask_B1SS: torch.Tensor,
        positions_BS: torch.Tensor,
    ) -> torch.Tensor:
        """Run the language model; for audio all three mrope axes are the text position."""
        return model.model(
            inputs_embeds=embeds_BSD,
            attention_mask=mask_B1SS,
            position_ids=positions_BS.unsqueeze(0).expand(3, -1, -1),
            use_cache=False,
        ).last_hidden_state

    def load_processor(self, path: Path) -> Any:
        """The checkpoint's processor, without code of its own."""
        return Qwen2_5OmniProcessor.from_pretrained(
            path, trust_remote_code=False, local_files_only=True
        )

    def chat_text(self, processor: Any, text: str) -> str:
        """Render one user turn of audio and text with the checkpoint's own chat template."""
        content = [{"type": "audio", "audio": ""}, {"type": "text", "text": text}]
        rendered: str = processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        return rendered

    def prompt_ids(self, processor: Any, text: str, num_mel_frames: int) -> list[int]:
        """Tokenise with one placeholder for each of the audio tower's outputs."""
        expanded = self.chat_text(processor, text).replace(
            AUDIO, AUDIO * num_audio_tokens(num_mel_frames)
        )
        ids: list[int] = processor.tokenizer(expanded)["input_ids"]
        return ids

    def forbidden_tokens(self, processor: Any) -> list[int]:
        """Ids of the audio, image and video tokens this tokenizer has."""
        vocabulary = processor.tokenizer.get_vocab()
        return sorted(vocabulary[token] for token in PLACEHOLDERS if token in vocabulary)


FAMILY = Qwen2_5Omni()
