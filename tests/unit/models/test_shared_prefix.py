"""The group in one row against one row for each completion: the same numbers, the same gradients."""

import numpy as np
import pytest
import torch

from keomni_rl.data.audio import log_mel
from keomni_rl.models.family import find_family
from keomni_rl.models.logprobs import chunked_logprobs
from keomni_rl.models.shared_prefix import PackedRows, Policy


@pytest.fixture(scope="module")
def policy(any_model):
    family = find_family(any_model)
    processor = family.load_processor(any_model)
    network = family.load(any_model, torch.float32)
    policy = Policy(
        network, family, forbidden_tokens=family.forbidden_tokens(processor), temperature=0.8
    )
    policy.processor = processor
    return policy


def noise(num_samples):
    rng = np.random.default_rng(num_samples)
    return (rng.standard_normal(num_samples) * 0.1).astype(np.float32)


def groups(policy, seed=0):
    """Two prompts of unlike length with completions of unlike lengths."""
    rng = np.random.default_rng(seed)
    prompts, completions, mels = [], [], []
    for samples, lengths in ((9_000, (1, 7, 3, 12)), (25_123, (5, 2, 9))):
        mel = log_mel(noise(samples))
        ids = policy.family.prompt_ids(policy.processor, f"heard {samples}", mel.shape[1])
        prompts.append(np.asarray(ids))
        completions.append([rng.integers(0, 250, n) for n in lengths])
        mels.append(mel)
    return prompts, completions, mels


def run(policy, rows: list[PackedRows], weights: torch.Tensor):
    policy.zero_grad()
    logprobs = torch.cat([policy(r) for r in rows])
    (logprobs * weights).sum().backward()
    return logprobs.detach(), {
        n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("is_checkpointing", [False, True])
def test_shared_rows_equal_padded_rows(policy, is_checkpointing):
    prompts, completions, mels = groups(policy)
    shared = [PackedRows.pack(prompts, completions, mels)]
    padded = [
        PackedRows.pack([p], [[c]], [m])
        for p, cs, m in zip(prompts, completions, mels, strict=True)
        for c in cs
    ]
    weights = torch.randn(len(shared[0].targets_N), generator=torch.Generator().manual_seed(1))
    expected, expected_grads = run(policy, padded, weights)
    policy.network.train(is_checkpointing)
    if is_checkpointing:
        policy.network.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        logprobs, grads = run(policy, shared, weights)
    finally:
        policy.network.gradient_checkpointing_disable()
        policy.network.eval()
    assert (logprobs - expected).abs().max() < 1e-5
    for name, grad in grads.items():
        scale = expected_grads[name].norm()
        assert (grad - expected_grads[name]).norm() <= 1e-4 * scale + 1e-9, name
    assert all(grad.abs().sum() > 0 for name, grad in grads.items() if "embed" not in name)


def test_completions_do_not_see_each_other(policy):
    prompts, completions, mels = groups(policy)
    with torch.no_grad():
        before = policy(PackedRows.pack(prompts[:1], completions[:1], mels[:1]))
        completions[0][1] = completions[0][1][::-1].copy()
        after = policy(PackedRows.pack(prompts[:1], completions[:1], mels[:1]))
    lengths = [len(c) for c in completions[0]]
    before, after = before.split(lengths), after.split(lengths)
    assert not torch.allclose(before[1], after[1])
    for n in (0, 2, 3):
        assert torch.allclose(before[n], after[n], atol=1e-6)


def test_the_model_hears_the_clip(policy):
    prompts, completions, mels = groups(policy)
    with torch.no_grad():
        heard = policy(PackedRows.pack(prompts[:1], completions[:1], mels[:1]))
        other = policy(PackedRows.pack(prompts[:1], completions[:1], [np.flip(mels[0], 1).copy()]))
    assert (heard - other).abs().max() > 1e-4


@pytest.mark.parametrize("seconds", [0.1, 0.98, 1.57, 29.99, 30])
def test_it_agrees_with_the_networks_own_forward(policy, seconds):
    """Against transformers' forward with its own features, masks and positions."""
    samples = noise(int(seconds * 16_000) - 7 * (seconds < 30))
    padded = policy.processor.feature_extractor(
        samples,
        sampling_rate=16_000,
        padding="max_length",
        return_attention_mask=True,
        return_tensors="pt",
    )
    mel = log_mel(samples, window_s=30)  # the tiny extractors' window
    prompt = policy.family.prompt_ids(policy.processor, "heard", mel.shape[1])
    tokens = np.random.default_rng(5).integers(0, 250, 12)
    ids = torch.from_numpy(np.concatenate([prompt, tokens]))[None]
    with torch.no_grad():
        # The whole thinker asks for a vision tower only when there are pictures.
        logits = policy.network(
            input_ids=ids,
            input_features=padded["input_features"],
            feature_attention_mask=padded["attention_mask"],
            attention_mask=torch.ones_like(ids),
        ).logits[0, len(prompt) - 1 : -1]
        logits = logits / 0.8
        logits[:, policy.forbidden_tokens] = float("-inf")
        expected = logits.log_softmax(-1).gather(1, torch.from_numpy(tokens)[:, None])[:, 0]
        got = policy(PackedRows.pack([np.asarray(prompt)], [[tokens]], [mel]))
    assert (got - expected).abs().max() < 1e-5


def test_a_prompt_expanded_for_another_clip_is_refused(policy):
    prompts, completions, mels = groups(policy)
    with pytest.raises(ValueError, match="expanded for another clip"):
        policy(PackedRows.pack(prompts[:1], completions[:1], mels[1:]))


def test_logprobs_in_chunks_are_those_in_one(policy):
    hidden = torch.randn(37, 256, requires_grad=True)
    targets = torch.randint(0, 300, (37,))
    head = policy.network.lm_head
    whole = chunked_logprobs(head, hidden, targets)
    (whole_grad,) = torch.autograd.grad(whole.square().sum(), hidden)
    pieces = chunked_logprobs(head, hidden, targets, chunk_logits=head.out_features * 5)
    (pieces_grad,) = torch.autograd.grad(pieces.square().sum(), hidden)
    torch.testing.assert_close(pieces, whole)
    torch.testing.assert_close(pieces_grad, whole_grad)


def test_no_tensor_of_all_tokens_by_vocabulary_is_made(policy):
    """Watch every tensor that autograd keeps."""
    head = policy.network.lm_head
    rows, sizes = 400, []
    hidden = torch.randn(rows, 256, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: sizes.append(t.numel()) or t, lambda t: t
    ):
        chunked_logprobs(
            head, hidden, torch.zeros(rows, dtype=torch.long), chunk_logits=head.out_features * 10
        ).sum().backward()
    assert max(sizes) <= max(10 * head.out_features, hidden.numel(), head.weight.numel())


def test_logprobs_and_their_gradient_are_those_of_log_softmax():
    rng = torch.Generator().manual_seed(3)
    head = torch.nn.Linear(16, 50)
    hidden = torch.randn(11, 16, generator=rng, requires_grad=True)
    targets = torch.randint(2, 50, (11,), generator=rng)
    weights = torch.randn(11, generator=rng)
    got = chunked_logprobs(
        head, hidden, targets, forbidden_tokens=[0, 1], temperature=0.7, chunk_logits=200
    )
    got_grads = torch.autograd.grad((got * weights).sum(), [hidden, head.weight, head.bias])
    logits = head(hidden) / 0.7
    logits = logits.index_fill(1, torch.tensor([0, 1]), float("-inf"))
    expected = logits.log_softmax(1).gather(1, targets[:, None])[:, 0]
    grads = torch.autograd.grad((expected * weights).sum(), [hidden, head.weight, head.bias])
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(got_grads, grads)
