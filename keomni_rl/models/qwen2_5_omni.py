"""The Qwen2.5-Omni family: the thinker alone is trained and served. Source: arXiv 2503.20215.

Two checkpoint layouts exist. "thinker": a flat config of type ``qwen2_5_omni_thinker`` and bare
parameter names, as trainers save it and the seeds released it. "full": ``thinker_config`` inside,
names that begin with ``thinker.`` beside those of the talker, as the hub and vLLM have it.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from keomni_rl.data.audio import TAIL_FRAMES
from keomni_rl.models.audio_prompt import expanded_ids, known_ids, place_audio, render_turn
from keomni_rl.models.family import Config, LayoutName, read_config
from keomni_rl.models.loading import describe_network, load_network, load_processor
from keomni_rl.models.prefix_attention import RowLayout
from keomni_rl.types import Clip

PREFIX = "thinker."
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


class ThinkerLayout:
    """Implements `keomni_rl.models.family.Layout`: the thinker by itself."""

    name: LayoutName = "thinker"
    architecture = "Qwen2_5OmniThinkerForConditionalGeneration"
    companions = ()

    def matches(self, config: Config) -> bool:
        """No config of a whole around it."""
        return "thinker_config" not in config

    def convert(self, config: Config) -> Config:
        """The thinker's config, flat."""
        return config.get("thinker_config", config) | {
            "model_type": "qwen2_5_omni_thinker",
            "architectures": [self.architecture],
        }

    def stored_name(self, name: str) -> str:
        """Names are bare."""
        return name

    def own_name(self, stored: str) -> str | None:
        """Names are bare, and all of them are the thinker's."""
        return stored


class FullLayout:
    """Implements `keomni_rl.models.family.Layout`: the thinker in its place in the whole model."""

    name: LayoutName = "full"
    architecture = "Qwen2_5OmniForConditionalGeneration"
    companions = ("spk_dict.pt",)

    def matches(self, config: Config) -> bool:
        """The thinker's config is a part."""
        return "thinker_config" in config

    def convert(self, config: Config) -> Config:
        """A config of the whole; one made from a thinker alone has no voice."""
        if self.matches(config):
            return config
        return {
            "architectures": [self.architecture],
            "model_type": "qwen2_5_omni",
            "enable_audio_output": False,
            "thinker_config": config,
            "dtype": config.get("dtype", config.get("torch_dtype", "bfloat16")),
        }

    def stored_name(self, name: str) -> str:
        """The thinker's place comes first."""
        return PREFIX + name

    def own_name(self, stored: str) -> str | None:
        """The talker and token2wav are not trained."""
        return stored.removeprefix(PREFIX) if stored.startswith(PREFIX) else None


class Qwen2_5Omni:
    """Implements `keomni_rl.models.family.Family`."""

    name = "qwen2_5_omni"
    layouts = (ThinkerLayout(), FullLayout())
    longest_clip_s = 300.0
    audio_tower = "audio_tower"
    language_model = "model"

    def load(self, path: Path, dtype: torch.dtype) -> Any:
        """Load the thinker without its vision tower; of a full checkpoint nothing else is read."""
        from transformers import Qwen2_5OmniThinkerForConditionalGeneration as Thinker

        model = load_network(Thinker, _thinker_config(path), path, dtype)
        del model.visual  # audio never reaches it; under ZeRO-3 an unused tower would be gathered
        model.config.use_cache = False
        return model

    def describe(self, path: Path) -> Any:
        """The thinker without its vision tower."""
        from transformers import Qwen2_5OmniThinkerForConditionalGeneration as Thinker

        model = describe_network(Thinker, _thinker_config(path), path)
        del model.visual
        return model

    def wire_name(self, name: str) -> str:
        """The name in a full checkpoint."""
        return PREFIX + name

    def embed(self, model: Any, ids_BS: torch.Tensor, mels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Embed tokens and put each clip's audio features where its placeholders are."""
        embeds_BSD = model.get_input_embeddings()(ids_BS)
        clips = [mel[:, :-TAIL_FRAMES] for mel in mels]  # the tower is blind beyond a clip's end
        frames = torch.tensor([clip.shape[1] for clip in clips], device=ids_BS.device)
        features = torch.cat([clip.to(embeds_BSD.device) for clip in clips], dim=1)
        audio = model.audio_tower(
            features.to(embeds_BSD.dtype),
            feature_lens=frames,
            aftercnn_lens=(frames - 1) // 2 + 1,
        ).last_hidden_state
        return place_audio(embeds_BSD, ids_BS == model.config.audio_token_id, audio)

    def decode(
        self,
        model: Any,
        embeds_BSD: torch.Tensor,
        layouts: Sequence[RowLayout],
        positions_BS: torch.Tensor,
    ) -> torch.Tensor:
        """Run the language model; for audio all three mrope axes are the text position."""
        return model.model(
            inputs_embeds=embeds_BSD,
            attention_mask={"full_attention": layouts},
            position_ids=positions_BS.unsqueeze(0).expand(3, -1, -1),
            use_cache=False,
        ).last_hidden_state

    def load_processor(self, path: Path) -> Any:
        """The checkpoint's processor, without code of its own."""
        from transformers import Qwen2_5OmniProcessor

        return load_processor(Qwen2_5OmniProcessor, path)

    def chat_text(self, processor: Any, text: str) -> str:
        """Render one user turn of audio and text with the checkpoint's own chat template."""
        content = [{"type": "audio", "audio": ""}, {"type": "text", "text": text}]
        return render_turn(processor, content)

    def prompt_ids(self, processor: Any, text: str, num_mel_frames: int) -> list[int]:
        """Tokenise with one placeholder for each of the audio tower's outputs."""
        return expanded_ids(processor, self.chat_text(processor, text), AUDIO, num_mel_frames)

    def engine_audio(self, clip: Clip) -> dict[str, torch.Tensor]:
        """The clip's own mel frames: vLLM's extractor would pad it to its window first."""
        mel = torch.from_numpy(clip.mel[:, :-TAIL_FRAMES].copy())
        return {
            "input_audio_features": mel,
            "audio_feature_lengths": torch.tensor([mel.shape[1]]),
            "feature_attention_mask": torch.ones(1, mel.shape[1], dtype=torch.long),
        }

    def forbidden_tokens(self, processor: Any) -> list[int]:
        """Ids of the audio, image and video tokens this tokenizer has."""
        return known_ids(processor, PLACEHOLDERS)

    def build_tiny(self, texts: Iterable[str]) -> tuple[Any, Any]:
        """See `keomni_rl.models.qwen2_5_omni_tiny`."""
        from keomni_rl.models.qwen2_5_omni_tiny import tiny_network, tiny_processor

        processor = tiny_processor(texts)
        return tiny_network(processor), processor


def _thinker_config(path: Path) -> Config:
    config = read_config(path)
    thinker: Config = config.get("thinker_config", config)
    return thinker


FAMILY = Qwen2_5Omni()
