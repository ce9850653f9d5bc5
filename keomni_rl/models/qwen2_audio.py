"""The Qwen2-Audio family. Source: arXiv 2407.10759.

It has one checkpoint layout, "full". Names on disk and on the wire are those of the released
checkpoints (``language_model.model.*``, ``audio_tower.*``); transformers has others in memory, and
files that it saved itself have one ``model.`` too many, which is read and never written.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from keomni_rl.data.audio import SAMPLE_RATE_HZ, TAIL_FRAMES
from keomni_rl.models.audio_prompt import expanded_ids, known_ids, place_audio, render_turn
from keomni_rl.models.family import Config, LayoutName, read_config
from keomni_rl.models.loading import describe_network, load_network, load_processor
from keomni_rl.models.prefix_attention import RowLayout
from keomni_rl.types import Clip, FloatArray

AUDIO = "<|AUDIO|>"
PLACEHOLDERS = (AUDIO, "<|audio_bos|>", "<|audio_eos|>")
STORED = {
    "model.language_model.": "language_model.model.",
    "model.audio_tower.": "audio_tower.",
    "model.multi_modal_projector.": "multi_modal_projector.",
    "lm_head.": "language_model.lm_head.",
}
"""How a name begins in memory -> how it begins in the files."""
OWN = {
    "language_model.model.model.": "model.language_model.",
    **{stored: own for own, stored in STORED.items()},
}
"""The way back; the first is what transformers 5 saves."""


class ReleasedLayout:
    """Implements `keomni_rl.models.family.Layout`: names as Qwen released them."""

    name: LayoutName = "full"
    architecture = "Qwen2AudioForConditionalGeneration"
    companions = ()

    def matches(self, config: Config) -> bool:  # noqa: ARG002 - there is no other
        """Every checkpoint of the family."""
        return True

    def convert(self, config: Config) -> Config:
        """Nothing to change but the architecture's name, which a base model may lack."""
        return config | {"architectures": [self.architecture]}

    def stored_name(self, name: str) -> str:
        """The released name."""
        return _replace_start(name, STORED) or name

    def own_name(self, stored: str) -> str | None:
        """The name that transformers has in memory."""
        return _replace_start(stored, OWN)


class Qwen2Audio:
    """Implements `keomni_rl.models.family.Family`."""

    name = "qwen2_audio"
    layouts = (ReleasedLayout(),)
    longest_clip_s = 30.0
    audio_tower = "model.audio_tower"
    language_model = "model.language_model"

    def load(self, path: Path, dtype: torch.dtype) -> Any:
        """Load the whole model; all of it is trained."""
        from transformers import Qwen2AudioForConditionalGeneration

        model = load_network(Qwen2AudioForConditionalGeneration, read_config(path), path, dtype)
        model.config.use_cache = False
        model.config.text_config.use_cache = False
        return model

    def describe(self, path: Path) -> Any:
        """The whole model."""
        from transformers import Qwen2AudioForConditionalGeneration

        return describe_network(Qwen2AudioForConditionalGeneration, read_config(path), path)

    def wire_name(self, name: str) -> str:
        """The released name."""
        return self.layouts[0].stored_name(name)

    def embed(self, model: Any, ids_BS: torch.Tensor, mels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Embed tokens and put each clip's audio features where its placeholders are."""
        embeds_BSD = model.get_input_embeddings()(ids_BS)
        heard = _encode(model.model.audio_tower, mels, embeds_BSD)
        audio = model.model.multi_modal_projector(heard)
        return place_audio(embeds_BSD, ids_BS == model.config.audio_token_id, audio)

    def decode(
        self,
        model: Any,
        embeds_BSD: torch.Tensor,
        layouts: Sequence[RowLayout],
        positions_BS: torch.Tensor,
    ) -> torch.Tensor:
        """Run the language model."""
        return model.model.language_model(
            inputs_embeds=embeds_BSD,
            attention_mask={"full_attention": layouts},
            position_ids=positions_BS,
            use_cache=False,
        ).last_hidden_state

    def load_processor(self, path: Path) -> Any:
        """The checkpoint's processor, without code of its own."""
        from transformers import Qwen2AudioProcessor

        return load_processor(Qwen2AudioProcessor, path)

    def chat_text(self, processor: Any, text: str) -> str:
        """Render one user turn of audio and text with the checkpoint's own chat template."""
        content = [{"type": "audio", "audio_url": ""}, {"type": "text", "text": text}]
        return render_turn(processor, content)

    def prompt_ids(self, processor: Any, text: str, num_mel_frames: int) -> list[int]:
        """Tokenise with one placeholder for each of the audio tower's outputs."""
        return expanded_ids(processor, self.chat_text(processor, text), AUDIO, num_mel_frames)

    def engine_audio(self, clip: Clip) -> list[tuple[FloatArray, int]]:
        """Samples: vLLM takes no features of this family, and pads each clip to 30 s itself."""
        return [(clip.samples, SAMPLE_RATE_HZ)]

    def forbidden_tokens(self, processor: Any) -> list[int]:
        """Ids of the audio tokens."""
        return known_ids(processor, PLACEHOLDERS)

    def build_tiny(self, texts: Iterable[str]) -> tuple[Any, Any]:
        """See `keomni_rl.models.qwen2_audio_tiny`."""
        from keomni_rl.models.qwen2_audio_tiny import tiny_network, tiny_processor

        processor = tiny_processor(texts)
        return tiny_network(processor), processor


def _encode(tower: Any, mels: Sequence[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """The audio tower over the clips' own length: [A, D] for all clips one after the other.

    The model's own forward pads every clip to 30 s and masks what it padded; here only the longest
    of the clips is padded to, which computes the same for a fraction of the work. A clip's tail
    is what the convolutions at its end see.
    """
    window = 2 * tower.config.max_source_positions
    frames = torch.tensor([mel.shape[1] - TAIL_FRAMES for mel in mels], device=like.device)
    mel_BMF = nn.utils.rnn.pad_sequence(
        [mel.T.to(like.device, like.dtype)[:window] for mel in mels], batch_first=True
    ).transpose(1, 2)
    hidden = nn.functional.gelu(tower.conv1(mel_BMF))
    hidden = nn.functional.gelu(tower.conv2(hidden)).transpose(1, 2)
    lengths = (frames - 1) // 2 + 1
    hidden = hidden[:, : int(lengths.max())]
    positions = torch.arange(hidden.shape[1], device=like.device)
    hidden = hidden + tower.embed_positions(positions)
    is_own = positions < lengths.unsqueeze(1)
    mask = None if bool(is_own.all()) else is_own[:, None, None, :]
    for layer in tower.layers:
        hidden = layer(hidden, mask)
    hidden = tower.layer_norm(tower.avg_pooler(hidden.transpose(1, 2)).transpose(1, 2))
    return torch.cat([row[: int(n)] for row, n in zip(hidden, lengths // 2, strict=True)])


def _replace_start(name: str, starts: dict[str, str]) -> str | None:
    for start, other in starts.items():
        if name.startswith(start):
            return other + name.removeprefix(start)
    return None


FAMILY = Qwen2Audio()
