"""Our loss and TRL's on the same numbers: value and gradient, for every form the two share."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from keomni_rl.algorithms.aggregation import token_weights
from keomni_rl.algorithms.loss import grpo_loss

pytestmark = pytest.mark.filterwarnings("ignore:TRL currently supports vLLM:UserWarning")

LENGTHS = (3, 7, 1, 5)
LONGEST = max(LENGTHS)
CAP = 2.0


@pytest.fixture(scope="module")
def trl_loss():
    """TRL's own `_compute_loss` on given log-probabilities, without a model."""
    from trl import GRPOTrainer

    def compute(policy_BT, inputs, **settings):
        trainer = object.__new__(GRPOTrainer)
        vars(trainer).update(
            aux_loss_enabled=False,
            top_entropy_quantile=1.0,
            off_policy_mask_threshold=None,
            importance_sampling_level="token",
            args=SimpleNamespace(use_bias_correction_kl=False, delta=None),
            model=SimpleNamespace(training=False),
            max_completion_length=LONGEST,
            _entropy_bonus_enabled=False,
            _metrics=defaultdict(lambda: defaultdict(list)),
            accelerator=SimpleNamespace(
                num_processes=1,
                gather=lambda x: x,
                gather_for_metrics=lambda x: x,
                reduce=lambda x, reduction: x,
            ),
            **settings,
        )
        entropies = torch.zeros_like(policy_BT)
        trainer._get_per_token_logps_and_entropies = lambda *a, **k: (policy_BT, entropies, None)
        return trainer._compute_loss(None, inputs)

    return compute


@pytest.mark.parametrize(
    ("loss_type", "aggregation"),
    [("grpo", "sequence"), ("bnpo", "token"), ("dapo", "token"), ("dr_grpo", "constant")],
)
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("old", ["learner", "learner, corrected", "rollout"])
def test_the_same_loss_and_gradient_as_trl(trl_loss, loss_type, aggregation, beta, old):
    torch.manual_seed(0)
    shape = (len(LENGTHS), LONGEST)
    policy_BT = (torch.randn(shape) - 2).requires_grad_()
    rollout_BT = policy_BT.detach() + 0.6 * torch.randn(shape)
    ref_BT = policy_BT.detach() + 0.5 * torch.randn(shape)
    advantages_B = torch.tensor([1.2, -0.7, 0.3, -0.8])
    mask_BT = (torch.arange(LONGEST) < torch.tensor(LENGTHS)[:, None]).float()
    ids = torch.zeros(shape, dtype=torch.long)
    ratio = torch.exp(policy_BT.detach() - rollout_BT).clamp(max=CAP)
    theirs = trl_loss(
        policy_BT,
        {
            "prompt_ids": ids[:, :1],
            "prompt_mask": ids[:, :1] + 1,
            "completion_ids": ids,
            "completion_mask": mask_BT,
            "advantages": advantages_B,
            "old_per_token_logps": rollout_BT if old == "rollout" else None,
            "ref_per_token_logps": ref_BT,
            "importance_sampling_ratio": ratio,
            "num_items_in_batch": mask_BT.sum(),
        },
        beta=beta,
        loss_type=loss_type,
        epsilon_low=0.2,
        epsilon_high=0.28,
        use_vllm=old == "learner, corrected",
        vllm_importance_sampling_correction=True,
    )
    (their_gradient,) = torch.autograd.grad(theirs, policy_BT)

    is_token = mask_BT.bool()
    constant = LONGEST if aggregation == "constant" else None
    weights_B = torch.from_numpy(token_weights(LENGTHS, aggregation, constant_tokens=constant))
    ours, _ = grpo_loss(
        policy_BT[is_token],
        rollout_BT[is_token],
        advantages_B[:, None].expand(shape)[is_token],
        weights_B[:, None].expand(shape)[is_token],
        ref_logprobs=ref_BT[is_token] if beta else None,
        beta=beta,
        clip_low=0.2,
        clip_high=0.28,
        old_logprobs=old.split(",")[0],
        importance_cap=CAP if "corrected" in old else None,
    )
    (our_gradient,) = torch.autograd.grad(ours, policy_BT)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5, abs=1e-6)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-5, atol=1e-7)
