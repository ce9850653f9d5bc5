from keomni_rl.models.layout import weight_files
from keomni_rl.models.tiny import build_tiny

TEXTS = ["What sound is heard?", "<answer>siren</answer>"]


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(any_model, tmp_path):
    family = any_model.name
    first, second, other = (
        build_tiny(tmp_path / name, TEXTS, seed=seed, family=family)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    files = sorted(file.name for file in first.iterdir())
    assert files == sorted(file.name for file in second.iterdir())
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    weights = [weight_files(folder)[0].read_bytes() for folder in (first, other)]
    assert weights[0] != weights[1]


def test_it_is_tiny(any_model):
    num_bytes = sum(file.stat().st_size for file in weight_files(any_model))
    assert 2_000_000 < num_bytes / 4 < 4_000_000  # float32 parameters
