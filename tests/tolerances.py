"""How far two computations of the same thing may lie apart: one table, each line with its reason."""

import torch

RELATIVE = {
    # Sums of some hundred products in different orders, carried through some tens of steps.
    torch.float64: 1e-9,
    # The same in single precision: 6e-8 a rounding, grown by the recurrence.
    torch.float32: 2e-5,
}


def assert_close(got: torch.Tensor, expected: torch.Tensor, what: str, relative: float | None = None) -> None:
    """Compares by the largest difference over the largest value: a relative error that small entries cannot inflate."""
    got, expected = got.detach(), expected.detach()
    assert got.shape == expected.shape, f"{what}: {list(got.shape)} against {list(expected.shape)}"
    assert torch.isfinite(got).all(), f"{what}: not finite"
    allowed = RELATIVE[expected.dtype] if relative is None else relative
    scale = max(float(expected.abs().max()), 1e-3) if expected.numel() else 1.0
    worst = float((got - expected).abs().max()) / scale if expected.numel() else 0.0
    assert worst <= allowed, f"{what}: relative error {worst:.2e}, allowed {allowed:.0e}"
