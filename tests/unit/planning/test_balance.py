"""How GPUs may be split over roles."""

from keomni_rl.planning.balance import RoleTimes, Split, best_splits, split_of
from tests.unit.planning.conftest import run_config


def test_splits_keep_to_the_gpus_there_are_and_to_whole_engines(rates):
    config = run_config(
        placement={"rollout": {"actors": 2, "gpus": 4}, "learner": {"actors": 4}},
        algo={"beta": 0},
    )
    assert split_of(config) == Split(2, 4, 0)
    found = best_splits(config, lambda split: _times(split), number=100)
    assert {(s.rollout, s.learner) for s in found} == {
        (2, 1),
        (2, 2),
        (2, 3),
        (2, 4),
        (1, 5),
        (1, 6),
        (1, 7),
        (1, 8),
    }
    assert all(s.reference == 0 for s in found)


def _times(split):
    return RoleTimes(1 / split.rollout, 1 / split.learner, 0, 0)
