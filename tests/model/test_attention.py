"""Every way of attending inside documents is the same attention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shikomi.model import attention
from shikomi.model.attention import attend, documents

NUMBERS = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2], [0] * 8, [0, 1, 2, 2, 2, 2, 3, 3]], dtype=torch.int32)


def parts(dtype=torch.float32, kv_heads=2):
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, heads, 8, 16) for heads in (4, kv_heads, kv_heads)]
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def plain(query, key, value, mask):
    group = query.shape[1] // key.shape[1]
    scores = query @ key.repeat_interleave(group, 1).mT / query.shape[-1] ** 0.5
    return scores.masked_fill(~mask, float("-inf")).softmax(-1) @ value.repeat_interleave(group, 1)


def test_documents_know_their_lengths_and_where_they_start():
    packed = documents(NUMBERS)
    assert packed.lengths == (3, 4, 1, 8, 1, 1, 4, 2)
    assert packed.starts_N.tolist() == [0, 3, 7, 8, 16, 17, 18, 22, 24]
    assert packed.to(torch.device("cpu")).lengths == packed.lengths


def test_rows_of_one_document_each_need_nothing_but_causality():
    assert documents(torch.tensor([[0, 0, 0], [4, 4, 4]], dtype=torch.int32)) is None


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_documents_apart_equal_the_masked_formula_with_its_gradients(kv_heads):
    ours, theirs = parts(kv_heads=kv_heads), parts(kv_heads=kv_heads)
    packed = documents(NUMBERS)
    out, expected = attend(*ours, packed), plain(*theirs, packed.mask)
    assert torch.allclose(out, expected, atol=1e-6)
    out.square().sum().backward()
    expected.square().sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine.grad, other.grad, atol=1e-5)


def test_a_mask_and_plain_causality_are_taken_too():
    query, key, value = parts()
    causal = torch.ones(8, 8, dtype=torch.bool).tril()[None, None]
    assert torch.allclose(attend(query, key, value, None), plain(query, key, value, causal), atol=1e-6)
    assert torch.allclose(attend(query, key, value, causal), plain(query, key, value, causal), atol=1e-6)


@pytest.mark.parametrize("visible", [None, documents(NUMBERS)], ids=["causal", "documents"])
def test_bfloat16_keeps_its_type_and_is_as_near_as_bfloat16_can_be(visible):
    exact = attend(*parts(), visible)
    rounded = attend(*parts(torch.bfloat16), visible)
    assert rounded.dtype is torch.bfloat16
    assert torch.allclose(rounded.float(), exact, atol=0.05)


def test_long_and_short_documents_in_bfloat16_have_the_gradients_of_the_formula():
    numbers = torch.zeros(1, 320, dtype=torch.int32)
    numbers[:, 200:260], numbers[:, 260:] = 1, 2
    packed = documents(numbers)
    assert packed.lengths[0] >= attention.LONG_ON_CPU > packed.lengths[1]
    generator = torch.Generator().manual_seed(0)
    exact = [torch.randn(1, heads, 320, 16, generator=generator) for heads in (4, 2, 2)]
    halves = [part.bfloat16().requires_grad_() for part in exact]
    exact = [part.detach().float().requires_grad_() for part in halves]
    out, expected = attend(*halves, packed), plain(*exact, packed.mask)
    assert torch.allclose(out.float(), expected, atol=0.03)
    out.float().square().sum().backward()
    expected.square().sum().backward()
    for half, whole in zip(halves, exact, strict=True):
        error = (half.grad.float() - whole.grad).norm() / whole.grad.norm()
        assert error < 0.02


def test_flash_attention_gets_documents_as_one_line(monkeypatch):
    """What a GPU runs, with a stand-in for its kernel: [B·T, heads, E], borders, and no length beyond T."""
    asked = {}

    def kernel(query, key, value, starts_q, starts_k, most_q, most_k, *, window_size=(-1, -1), enable_gqa=False):
        asked.update(most=(most_q, most_k), window=window_size, groups=enable_gqa, starts=starts_q.tolist())
        group = query.shape[1] // key.shape[1]
        found = []
        for start, end in zip(starts_q.tolist(), starts_q.tolist()[1:], strict=False):
            q, k, v = (part[start:end].transpose(0, 1) for part in (query, key, value))
            k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
            found.append(F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0].transpose(0, 1))
        return torch.cat(found)

    monkeypatch.setattr(attention, "VARLEN", (kernel, {"window_size": (-1, 0)}, True))
    query, key, value = parts()
    packed = documents(NUMBERS)
    out = attention._flash(query, key, value, packed)
    assert torch.allclose(out, plain(query, key, value, packed.mask), atol=1e-6)
    assert asked == {"most": (8, 8), "window": (-1, 0), "groups": True, "starts": packed.starts_N.tolist()}


def test_the_kernel_is_asked_for_causality_in_the_words_it_knows():
    found = attention.VARLEN
    if found is None:
        pytest.skip("this PyTorch has no varlen_attn")
    _, causal, _ = found
    assert causal in ({"window_size": (-1, 0)}, {"is_causal": True})


def test_the_blocks_of_flex_attention_are_those_of_the_mask_and_made_once():
    packed = documents(NUMBERS.repeat(1, 32))
    blocks = packed.blocks
    assert packed.blocks is blocks
    place = [torch.tensor(n) for n in (0, 0, 5, 3)]
    assert bool(blocks.mask_mod(*place)) == bool(packed.mask[0, 0, 5, 3])
    assert blocks.shape == (3, 1, 256, 256)


@pytest.mark.gpu
@pytest.mark.parametrize("way", ["_flash", "_flex"])
def test_both_ways_of_a_gpu_equal_the_mask(way):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    query, key, value = (part.detach().to("cuda", torch.bfloat16) for part in parts())
    packed = documents(NUMBERS).to(torch.device("cuda"))
    if way == "_flash" and attention.VARLEN is None:
        pytest.skip("this PyTorch has no varlen_attn")
    out = getattr(attention, way)(query, key, value, packed)
    assert torch.allclose(out.float(), plain(query.float(), key.float(), value.float(), packed.mask), atol=0.05)
