import pytest

from keomni_rl.config.schema import LearnerConfig
from keomni_rl.engines.learner import guard, learning_rate


def rates(steps, **settings):
    config = LearnerConfig(lr=1.0, **settings)
    return [learning_rate(config, s, steps) for s in range(steps)]


def test_linear_decay_reaches_zero_after_the_last_step():
    assert rates(4) == [1.0, 0.75, 0.5, 0.25]


def test_warm_up_then_decay():
    assert rates(6, warmup_steps=2) == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]


def test_constant():
    assert rates(3, lr_schedule="constant") == [1.0, 1.0, 1.0]


def test_a_gradient_that_is_not_finite_changes_nothing():
    import torch

    from keomni_rl.errors import NonFiniteLossError

    param = torch.nn.Parameter(torch.ones(3))
    optimizer = guard(torch.optim.AdamW([param], lr=0.1, weight_decay=0.0))
    param.grad = torch.tensor([0.0, float("inf"), 0.0])
    with pytest.raises(NonFiniteLossError, match="NaN or infinite"):
        optimizer.step()
    assert param.tolist() == [1.0, 1.0, 1.0]
    param.grad = torch.ones(3)
    optimizer.step()
    assert param.tolist() == pytest.approx([0.9] * 3)
