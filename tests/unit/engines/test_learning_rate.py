from keomni_rl.config.schema import LearnerConfig
from keomni_rl.engines.learner import learning_rate


def rates(steps, **settings):
    config = LearnerConfig(lr=1.0, **settings)
    return [learning_rate(config, s, steps) for s in range(steps)]


def test_linear_decay_reaches_zero_after_the_last_step():
    assert rates(4) == [1.0, 0.75, 0.5, 0.25]


def test_warm_up_then_decay():
    assert rates(6, warmup_steps=2) == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]


def test_constant():
    assert rates(3, lr_schedule="constant") == [1.0, 1.0, 1.0]
