"""Gated retention (gRet, the mixer of YOCO's self-decoder) in its three equal forms, and the layer around it.

Per head, with log-decays a_t <= 0 (one scalar per head and token) and G their running sum:

    parallel    O = (q k^T * D) v,              D_ij = exp(G_i - G_j) for j <= i, else 0
    recurrent   S_t = exp(a_t) S_{t-1} + k_t^T v_t,   o_t = q_t S_t
    chunkwise   the parallel form inside chunks of C tokens, the recurrent one between chunks

Source: arXiv 2405.05254, section 2.2 and equation 6, with D as in microsoft/unilm YOCO/yoco/models/gate_retention.py
(the paper prints D with two indices swapped). Masks are added inside the exponent: above the diagonal G_i - G_j is
positive and may overflow, and inf * 0 is NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from yocobench.bench.workloads.language.layers import NORM_EPS, linear, merge_heads, rope_tables, rotate, split_heads

DECAY_TEMPERATURE = 16.0
XAVIER_GAIN_IN = 2**-2.5
XAVIER_GAIN_OUT = 2**-1


def gated_retention(q: Tensor, k: Tensor, v: Tensor, a: Tensor, chunk: int) -> Tensor:
    """Chunkwise form: q, k (B, h, T, dk), v (B, h, T, dv), a (B, h, T) -> (B, h, T, dv).

    Everything is a batched matrix product, the states between chunks too: R = A (k^T v), where A_nm is the decay
    from the end of chunk m to the start of chunk n. No loop over time, so compilers see one static graph.
    T that is no multiple of `chunk` is padded (with zero keys and no decay, which changes nothing).
    """
    length = q.shape[2]
    chunk = min(chunk, length)
    pad = -length % chunk
    if pad:
        q, k, v = (F.pad(x, (0, 0, 0, pad)) for x in (q, k, v))
        a = F.pad(a, (0, pad))
    q, k, v = (torch.unflatten(x, 2, (-1, chunk)) for x in (q, k, v))
    inside = torch.unflatten(a, 2, (-1, chunk)).cumsum(-1)
    total = inside[..., -1]

    causal = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).tril()
    inner = (q @ k.mT * _decay(inside, inside, causal)) @ v
    num_chunks = inside.shape[2]
    if num_chunks == 1:
        return inner.squeeze(2)[:, :, :length]
    ends = total.cumsum(-1)
    earlier = torch.ones(num_chunks, num_chunks, dtype=torch.bool, device=q.device).tril(-1)
    carry = _decay(ends - total, ends, earlier)
    added = k.mT @ (v * torch.exp(total[..., None] - inside)[..., None])
    states = torch.unflatten(carry @ added.flatten(-2), -1, added.shape[-2:])
    cross = (q * torch.exp(inside)[..., None]) @ states
    return (inner + cross).flatten(2, 3)[:, :, :length]


def gated_retention_parallel(q: Tensor, k: Tensor, v: Tensor, a: Tensor) -> Tensor:
    """The definition over all T x T pairs. Quadratic in T: for checking."""
    sums = a.cumsum(-1)
    causal = torch.ones(a.shape[-1], a.shape[-1], dtype=torch.bool, device=a.device).tril()
    return (q @ k.mT * _decay(sums, sums, causal)) @ v


def gated_retention_recurrent(q: Tensor, k: Tensor, v: Tensor, a: Tensor) -> Tensor:
    """Token by token: what decoding does."""
    state = k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1])
    outputs = []
    for t in range(q.shape[2]):
        out, state = retention_step(q[:, :, t], k[:, :, t], v[:, :, t], a[:, :, t], state)
        outputs.append(out)
    return torch.stack(outputs, dim=2)


def retention_step(q: Tensor, k: Tensor, v: Tensor, a: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One token: q, k (B, h, dk), v (B, h, dv), a (B, h), state (B, h, dk, dv) -> output (B, h, dv) and new state."""
    state = torch.exp(a)[..., None, None] * state + k[..., :, None] * v[..., None, :]
    return (q[..., None, :] @ state).squeeze(-2), state


def retention_state(k: Tensor, v: Tensor, a: Tensor) -> Tensor:
    """The state (B, h, dk, dv) after the last token, for decoding to go on from."""
    sums = a.cumsum(-1)
    return k.mT @ (v * torch.exp(sums[..., -1:] - sums)[..., None])


def _decay(to: Tensor, since: Tensor, allowed: Tensor) -> Tensor:
    """exp(to_i - since_j) where allowed, else 0."""
    return torch.exp((to[..., :, None] - since[..., None, :]).masked_fill(~allowed, -torch.inf))


class GatedRetention(nn.Module):
    """Wo (silu(x Wg) * headnorm(retention)): 5 d^2 + d h weights. headnorm is an RMSNorm per head without gain."""

    def __init__(self, width: int, head_dim: int, chunk: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.chunk = width // head_dim, head_dim, chunk
        self.qkvg = linear(width, 4 * width)
        self.decay = linear(width, self.num_heads)
        self.out = linear(width, width)
        for weight in (*self.qkvg.weight.chunk(4), self.decay.weight):
            nn.init.xavier_uniform_(weight, XAVIER_GAIN_IN)
        nn.init.xavier_uniform_(self.out.weight, XAVIER_GAIN_OUT)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        q, k, v, a, gate = self._project(x, 0)
        return self._output(gated_retention(q, k, v, a, self.chunk), gate)

    def prefill(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """forward, and the state after the last token."""
        q, k, v, a, gate = self._project(x, 0)
        return self._output(gated_retention(q, k, v, a, self.chunk), gate), retention_state(k, v, a)

    def step(self, x: Tensor, position: int, state: Tensor) -> tuple[Tensor, Tensor]:
        """One token x (B, 1, d) at `position`: output (B, 1, d) and the new state."""
        q, k, v, a, gate = self._project(x, position)
        out, state = retention_step(q[:, :, 0], k[:, :, 0], v[:, :, 0], a[:, :, 0], state)
        return self._output(out[:, :, None], gate), state

    def _project(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        q, k, v, gate = self.qkvg(x).chunk(4, dim=-1)
        q, k, v = (split_heads(part, self.num_heads) for part in (q, k, v))
        tables = rope_tables(self.head_dim, start, x.shape[1], x)
        # Decays stay in fp32 under autocast: sums of many small numbers, then an exponent.
        decay = self.decay(x).mT
        a = F.logsigmoid(decay.to(torch.promote_types(decay.dtype, torch.float32))) / DECAY_TEMPERATURE
        return rotate(q, tables), rotate(k, tables) * self.head_dim**-0.5, v, a, gate

    def _output(self, retained: Tensor, gate: Tensor) -> Tensor:
        normed = merge_heads(F.rms_norm(retained, (self.head_dim,), None, NORM_EPS))
        out: Tensor = self.out(F.silu(gate) * normed)
        return out
