"""The mixers of `yoco-lm` against their definitions: the forms of retention, the window, rotary positions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from yocobench.bench.workloads.language.attention import SelfAttention, expand_heads, sliding_window_attention
from yocobench.bench.workloads.language.blocks import block_of, blocked_causal_attention, blocks_pay
from yocobench.bench.workloads.language.layers import rope_tables, rotate
from yocobench.bench.workloads.language.retention import (
    GatedRetention,
    gated_retention,
    gated_retention_parallel,
    gated_retention_recurrent,
    retention_state,
)

EXACT = {"rtol": 1e-9, "atol": 1e-10}


def retention_inputs(length: int, key_dim: int, value_dim: int, decay: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)
    q, k = (torch.randn(2, 3, length, key_dim, generator=generator, dtype=torch.float64) for _ in range(2))
    v = torch.randn(2, 3, length, value_dim, generator=generator, dtype=torch.float64)
    a = decay * F.logsigmoid(torch.randn(2, 3, length, generator=generator, dtype=torch.float64))
    return [x.requires_grad_() for x in (q, k, v, a)]


def test_retention_of_two_tokens_is_what_the_recurrence_gives_by_hand():
    q, k, v = (torch.tensor([[[[2.0], [3.0]]]]), torch.tensor([[[[5.0], [7.0]]]]), torch.tensor([[[[1.0], [4.0]]]]))
    a = torch.log(torch.tensor([[[0.9, 0.5]]]))
    # S_1 = 5 * 1, o_1 = 2 * 5 = 10; S_2 = 0.5 * 5 + 7 * 4 = 30.5, o_2 = 3 * 30.5 = 91.5
    expected = torch.tensor([[[[10.0], [91.5]]]])
    for chunk in (1, 2):
        torch.testing.assert_close(gated_retention(q, k, v, a, chunk), expected)
    torch.testing.assert_close(gated_retention_parallel(q, k, v, a), expected)
    torch.testing.assert_close(gated_retention_recurrent(q, k, v, a), expected)
    torch.testing.assert_close(retention_state(k, v, a), torch.tensor([[[[30.5]]]]))


@given(length=st.integers(1, 19), chunk=st.integers(1, 8), key_dim=st.sampled_from([1, 4]), value_dim=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_chunkwise_equals_recurrent_equals_parallel_in_values_and_gradients(length, chunk, key_dim, value_dim):
    inputs = retention_inputs(length, key_dim, value_dim)
    forms = [gated_retention(*inputs, chunk), gated_retention_recurrent(*inputs), gated_retention_parallel(*inputs)]
    weights = torch.linspace(-1, 1, forms[0].numel(), dtype=torch.float64).view_as(forms[0])
    gradients = [torch.autograd.grad((form * weights).sum(), inputs) for form in forms]
    for form, gradient in zip(forms[1:], gradients[1:], strict=True):
        torch.testing.assert_close(forms[0], form, **EXACT)
        for ours, theirs in zip(gradients[0], gradient, strict=True):
            torch.testing.assert_close(ours, theirs, **EXACT)


def test_strong_decay_over_a_long_chunk_stays_finite_in_values_and_gradients():
    q, k, v, a = (x.detach().float().requires_grad_() for x in retention_inputs(256, 4, 4, decay=50))
    out = gated_retention(q, k, v, a, chunk=128)
    out.sum().backward()
    assert out.isfinite().all()
    assert all(x.grad.isfinite().all() for x in (q, k, v, a))


def test_the_retention_layer_starts_with_the_papers_xavier_gains():
    torch.manual_seed(0)
    layer = GatedRetention(256, 64, 32)
    # Xavier-uniform of a d x d matrix is U(+-gain sqrt(3 / d)): 2^-2.5 sqrt(3/256) = 0.01914, 2^-1 ... = 0.05413.
    assert layer.qkvg.weight.abs().max().item() == pytest.approx(0.01914, rel=1e-3)
    assert layer.out.weight.abs().max().item() == pytest.approx(0.05413, rel=1e-3)


@pytest.mark.parametrize(("length", "window"), [(12, 4), (13, 4), (7, 1), (9, 9), (5, 8), (640, 300), (600, 257)])
def test_blocked_window_equals_attention_with_the_full_mask_in_values_and_gradients(length: int, window: int):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, length, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    inputs = [x.requires_grad_() for x in (q, k, v)]
    i, j = torch.arange(length)[:, None], torch.arange(length)
    expected = F.scaled_dot_product_attention(*inputs, attn_mask=(j <= i) & (j > i - window))
    found = sliding_window_attention(*inputs, window)
    torch.testing.assert_close(found, expected, **EXACT)
    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_query_heads_read_neighbouring_key_value_heads():
    shared = torch.arange(3.0).view(1, 3, 1, 1)
    assert expand_heads(shared, 6).flatten().tolist() == [0, 0, 1, 1, 2, 2]


def test_rotary_frequencies_run_from_one_to_one_over_theta_both_included():
    cos, sin = rope_tables(4, start=2, length=1, like=torch.zeros(1))
    angles = torch.atan2(sin, cos)[0]
    torch.testing.assert_close(angles, torch.tensor([2.0, 2e-4]))
    # Dimension 0 turns with dimension 2: (1, 0) goes to (cos 2, sin 2); dimensions 1 and 3 hardly move.
    rotated = rotate(torch.tensor([[1.0, 1.0, 0.0, 0.0]]), (cos, sin))
    torch.testing.assert_close(rotated, torch.tensor([[-0.41615, 1.0, 0.90930, 0.0002]]), atol=1e-5, rtol=0)


def test_rotary_scores_depend_on_distance_only():
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    near = [rotate(x[None], rope_tables(8, at, 1, x)) for x, at in ((q, 5), (k, 3))]
    far = [rotate(x[None], rope_tables(8, at, 1, x)) for x, at in ((q, 15), (k, 13))]
    torch.testing.assert_close(near[0] @ near[1].mT, far[0] @ far[1].mT, rtol=1e-5, atol=1e-6)


def test_self_attention_without_a_window_keeps_everything_before():
    torch.manual_seed(0)
    layer = SelfAttention(16, 2, window=None).double()
    x = torch.randn(1, 6, 16, dtype=torch.float64)
    _, cache = layer.prefill(x[:, :5])
    out, cache = layer.step(x[:, 5:], 5, cache)
    torch.testing.assert_close(out, layer(x)[:, 5:], **EXACT)
    assert cache[0].shape[2] == 6


# --- causal attention in blocks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "heads", "shared"), [(256, 4, 2), (384, 3, 3), (128, 2, 1)])
def test_blocks_give_what_attention_over_repeated_keys_gives_in_values_and_gradients(length, heads, shared):
    generator = torch.Generator().manual_seed(length)
    q = torch.randn(2, heads, length, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    k, v = (
        torch.randn(2, shared, length, 8, generator=generator, dtype=torch.float64, requires_grad=True)
        for _ in range(2)
    )
    forms = [
        blocked_causal_attention(q, k, v),
        F.scaled_dot_product_attention(q, expand_heads(k, heads), expand_heads(v, heads), is_causal=True),
    ]
    weights = torch.randn(forms[0].shape, generator=generator, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((form * weights).sum(), (q, k, v)) for form in forms)
    torch.testing.assert_close(forms[0], forms[1], **EXACT)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def test_very_large_scores_stay_finite_in_blocks():
    q, k = (torch.full((1, 1, 256, 4), 300.0, requires_grad=True) for _ in range(2))
    v = torch.randn(1, 1, 256, 4, requires_grad=True)
    out = blocked_causal_attention(q, k, v)
    out.sum().backward()
    # all scores are equal: the last query takes the mean of all values
    torch.testing.assert_close(out[0, 0, -1], v[0, 0].mean(0), rtol=1e-4, atol=1e-5)
    assert all(x.grad.isfinite().all() for x in (q, k, v))


def test_a_sequence_is_cut_into_sixteen_blocks_at_most():
    assert [block_of(length) for length in (256, 512, 2048, 4096, 16384)] == [128, 128, 128, 256, 1024]


def test_uncompiled_code_takes_no_blocks():
    assert not blocks_pay(torch.zeros(1, 1, 512, 4))
