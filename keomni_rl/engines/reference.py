"""The frozen policy that KL is measured against: the learner's forward without the learning."""

import numpy as np
import torch

from keomni_rl.engines.specs import ReferenceSpec
from keomni_rl.models.family import find_family
from keomni_rl.models.hub import local_model
from keomni_rl.models.shared_prefix import PackedRows, Policy
from keomni_rl.types import Clip, FloatArray, Group


class ReferenceEngine:
    """Scores tokens under the policy that training started from."""

    def __init__(self, spec: ReferenceSpec) -> None:
        self._device = torch.device("cuda" if spec.on_gpu else "cpu")
        if not spec.on_gpu:
            torch.set_num_threads(spec.num_threads)
        model = local_model(spec.model, spec.revision)
        family = find_family(model)
        network = family.load(model, getattr(torch, spec.dtype)).to(self._device).eval()
        self._policy = Policy(
            network,
            family,
            forbidden_tokens=family.forbidden_tokens(family.load_processor(model)),
            temperature=spec.temperature,
        )

    @torch.inference_mode()
    def score(self, group: Group, clip: Clip) -> tuple[FloatArray, ...]:
        """Log-probabilities of a group's tokens: G arrays of float32 [T]."""
        completions = [c.token_ids for c in group.completions]
        rows = PackedRows.pack([group.prompt_ids], [completions], [clip.mel], self._device)
        logprobs_N = self._policy(rows).cpu().numpy()
        ends = np.cumsum([len(tokens) for tokens in completions])
        return tuple(np.split(logprobs_N, ends[:-1]))
