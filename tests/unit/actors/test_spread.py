from hypothesis import given
from hypothesis import strategies as st

from keomni_rl.actors.learner_group import spread
from keomni_rl.engines.rows import PASS_TOKENS, split_rows

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


@given(lengths, st.integers(1, 3_000), st.integers(1, 50))
def test_there_are_as_many_micro_batches_as_asked_for_while_rows_last(num_tokens, limit, wanted):
    fewest = len(split_rows(num_tokens, limit))
    batches = split_rows(num_tokens, limit, at_least=wanted)
    assert len(batches) == max(fewest, min(wanted, len(num_tokens)))
    assert sorted(i for batch in batches for i in batch) == list(range(len(num_tokens)))


@given(st.lists(st.integers(1, 300), min_size=1, max_size=7), st.integers(1, 1_500))
def test_no_other_cut_of_the_sorted_rows_is_cheaper(num_tokens, limit):
    def cost(batches):
        return sum(max(b) * len(b) + PASS_TOKENS for b in batches)

    rows = sorted(num_tokens, reverse=True)
    cheapest = min(
        cost(cut)
        for cut in all_cuts(rows)
        if all(max(b) * len(b) <= limit or len(b) == 1 for b in cut)
    )
    found = [[num_tokens[i] for i in batch] for batch in split_rows(num_tokens, limit)]
    assert cost(found) == cheapest


def all_cuts(rows):
    """Every way to cut a list into parts that follow each other."""
    if not rows:
        return [[]]
    return [[rows[:end], *rest] for end in range(1, len(rows) + 1) for rest in all_cuts(rows[end:])]
