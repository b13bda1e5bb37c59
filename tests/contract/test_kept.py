import torch

from bptt.kept import Compact


def test_small_states_lie_together_and_never_change_again():
    compact = Compact()
    made = [compact({"h": torch.full((1, 2, 3), float(n))})["h"] for n in range(200)]
    for n, leaf in enumerate(made):
        assert leaf.shape == (1, 2, 3)
        assert (leaf == n).all()
    assert len({leaf.untyped_storage().data_ptr() for leaf in made}) <= 200 * 24 // 4096 + 1


def test_filling_one_does_not_count_as_a_change_of_another():
    compact = Compact()
    weight = torch.ones(3, requires_grad=True)
    first = compact([torch.ones(3)])[0]
    loss = (weight * first).sum()
    compact([torch.zeros(3)])
    loss.backward()
    assert weight.grad.tolist() == [1, 1, 1]


def test_a_large_state_is_freed_of_what_it_is_a_view_of():
    whole = torch.randn(10, 4096)
    kept = Compact()([whole[3]])[0]
    assert kept.untyped_storage().nbytes() == kept.nbytes
    assert kept.equal(whole[3])
    own = torch.randn(4096)
    assert Compact()([own])[0] is own
