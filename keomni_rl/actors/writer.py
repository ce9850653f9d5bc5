"""The writer actor: makes a group of a question and the completions that were written for it.

Supervised training has no sampler. What the learner gets is a group all the same, so that from
here on it takes the same way.
"""

import numpy as np

from keomni_rl.config.schema import ModelConfig
from keomni_rl.types import Clip, Completion, FinishReason, Group, GroupKey, Prompt


class WriterActor:
    """Tokenises prompts and written completions as the engines would."""

    def __init__(self, model: ModelConfig) -> None:
        from keomni_rl.models.family import find_family
        from keomni_rl.models.hub import local_model

        folder = local_model(model.path, model.revision)
        self._family = find_family(folder)
        self._processor = self._family.load_processor(folder)

    def write(self, key: GroupKey, prompt: Prompt, clip: Clip) -> Group:
        """The group of one prompt that has written completions."""
        ids = self._family.prompt_ids(self._processor, prompt.text, clip.mel.shape[1])
        return Group(
            key=key,
            prompt=prompt,
            prompt_ids=np.asarray(ids, np.int32),
            completions=tuple(self._completion(text) for text in prompt.written),
        )

    def _completion(self, text: str) -> Completion:
        tokenizer = self._processor.tokenizer
        ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        return Completion(
            token_ids=np.asarray(ids, np.int32),
            rollout_logprobs=np.zeros(len(ids), np.float32),
            text=text,
            finish_reason=FinishReason.STOP,
            policy_version=(0, 0),
        )
