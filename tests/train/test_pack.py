import json
import math
from collections import namedtuple
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

from bptt.train.pack import pack, unpack

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool, torch.complex128]
tensors = st.builds(
    lambda dtype, shape: (torch.arange(math.prod(shape)) % 2).reshape(shape).to(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3),
)
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), tensors)
keys = st.one_of(st.text(max_size=3), st.integers(), st.booleans(), st.none(), st.tuples(st.integers(), st.text(max_size=2)))
nests = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple), st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(*pair) for pair in zip(a, b, strict=True)) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, float):
        return repr(a) == repr(b)
    return bool(a == b)


@given(nests)
def test_comes_back_exactly_through_json(nested: Any) -> None:
    made, skeleton = pack(nested)
    assert same(unpack(made, json.loads(json.dumps(skeleton, allow_nan=False))), nested)


def test_optimizer_state_with_its_whole_number_keys() -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    made, skeleton = pack(optimizer.state_dict())
    back = unpack(made, json.loads(json.dumps(skeleton)))
    assert same(back, optimizer.state_dict())
    assert list(back["state"]) == [0, 1]
    assert back["param_groups"][0]["betas"] == (0.9, 0.999)


def test_one_tensor_in_two_places_is_kept_once_and_comes_back_as_one() -> None:
    tensor = torch.ones(3)
    made, skeleton = pack({"a": tensor, "b": [tensor.detach()], "c": tensor[:2]})
    assert len(made) == 2
    back = unpack(made, skeleton)
    assert back["a"] is back["b"][0]
    assert back["c"].tolist() == [1, 1]


def test_what_is_packed_is_a_copy() -> None:
    tensor = torch.zeros(2)
    made, skeleton = pack([tensor])
    tensor += 1
    assert unpack(made, skeleton)[0].tolist() == [0, 0]


def test_names_that_meet_are_told_apart() -> None:
    made, skeleton = pack({"a": {"b": torch.zeros(1)}, "a.b": torch.ones(1)})
    back = unpack(made, skeleton)
    assert (back["a"]["b"].item(), back["a.b"].item()) == (0, 1)


def test_views_that_are_strange_in_memory() -> None:
    base = torch.arange(6.0).reshape(2, 3)
    odd = {"turned": base.T, "spread": base[:1].expand(4, 3), "conjugate": torch.complex(base, base).conj()}
    made, skeleton = pack(odd)
    back = unpack(made, skeleton)
    assert all(torch.equal(back[name], odd[name]) for name in odd)


@pytest.mark.parametrize("value", [{1, 2}, namedtuple("State", "h")(torch.zeros(1)), object()])
def test_what_would_not_come_back_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(TypeError, match=r"^a\.0 is a .*cannot be saved exactly"):
        pack({"a": [value]})


def test_missing_tensor() -> None:
    with pytest.raises(ValueError, match="names the tensor 'a'"):
        unpack({}, {"dict": {"a": {"tensor": "a"}}})
    with pytest.raises(ValueError, match="not the skeleton"):
        unpack({}, {"set": []})
