from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.actors.learner_group import spread
from keomni_rl.engines.rows import split_rows

lengths = st.lists(st.integers(1, 1_000), min_size=4, max_size=40)


@given(lengths, st.integers(1, 4))
def test_every_row_goes_to_one_rank_and_no_rank_is_left_out(num_tokens, num_ranks):
    shares = spread(num_tokens, num_ranks)
    assert sorted(i for share in shares for i in share) == list(range(len(num_tokens)))
    assert all(shares)
    loads = [sum(num_tokens[i] for i in share) for share in shares]
    assert max(loads) - min(loads) <= max(num_tokens)


@given(lengths, st.integers(1, 3_000))
def test_micro_batches_keep_to_their_padded_size(num_tokens, limit):
    batches = split_rows(num_tokens, limit)
    assert sorted(i for batch in batches for i in batch) == list(range(len(num_tokens)))
    for batch in batches:
        padded = max(num_tokens[i] for i in batch) * len(batch)
        assert padded <= limit or len(batch) == 1
