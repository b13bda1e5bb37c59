"""What training with many processes should take, from what it takes with two: the table of docs/scale.md.

    python benchmarks/scale_model.py [docs/scale.json]

    update = compute + sync,  compute = rows·k1·flops/rate,  sync = 2(N-1)·latency + 2(N-1)/N·bytes/bandwidth  (a ring)

The first lines use what benchmarks/scaling.py measured, which wrote that file; the others what is assumed of machines that are
not here, and is printed with them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Network:
    layers: int
    hidden: int
    words: int

    @property
    def dense(self) -> int:
        """Weights that every token is multiplied with: LSTM layers and the readout."""
        return self.layers * 8 * self.hidden**2 + self.words * self.hidden

    @property
    def flops(self) -> float:
        """Forward and backward, a token."""
        return 6.0 * self.dense


@dataclass(frozen=True)
class Machine:
    rate: float  # flops a second that one process reaches
    latency: float  # seconds of one step of the ring
    bandwidth: float  # bytes a second of one link
    number: int = 4  # bytes of a number of the gradient


def update(network: Network, machine: Machine, processes: int, rows: int, k1: int) -> tuple[float, float]:
    """Seconds of computing and of summing."""
    compute = rows * k1 * network.flops / machine.rate
    ring = 2 * (processes - 1) * machine.latency
    return compute, ring + 2 * (processes - 1) / processes * network.dense * machine.number / machine.bandwidth


def line(name: str, network: Network, machine: Machine, processes: int, rows: int, k1: int) -> str:
    compute, sync = update(network, machine, processes, rows, k1)
    speed = processes * rows * k1 / (compute + sync)
    share = compute / (compute + sync)
    days = 1e12 / speed / 86_400
    each = [name, str(processes), str(rows), str(k1), f"{1e3 * compute:,.1f}", f"{1e3 * sync:,.1f}", f"{share:.0%}"]
    return f"| {' | '.join([*each, f'{speed:,.0f}', f'{days:,.1f}'])} |"


def main(path: Path) -> None:
    told = json.loads(path.read_text())
    small, large = Network(2, 200, 10_000), Network(4, 4096, 50_000)
    rows, k1 = told["rows"], told["steps"]
    rate, within = small.flops * told["speed"]["two apart"] / 2, told["within"]
    here = Machine(rate, within["waiting"] / 2, told["summed"] / within["summing"])
    ethernet = Machine(here.rate, 50e-6, 1.2e9)
    node = Machine(60e12, 5e-6, 300e9)
    cluster = Machine(60e12, 20e-6, 25e9)
    halved = Machine(60e12, 20e-6, 25e9, number=2)
    low, median, high = told["times"]["two together"]
    print(f"measured with two processes: {median:.2f} times one, middle half {low:.2f}..{high:.2f}\n")
    print("| | processes | rows each | k1 | compute, ms | sync, ms | at work | tokens/s | days for 10¹² |")
    print("|---|---|---|---|---|---|---|---|---|")
    for processes in (1, 2):
        print(line("2×200, these cores", small, here, processes, rows, k1))
    for processes, steps in ((8, k1), (8, 4 * k1), (64, 4 * k1)):
        print(line("2×200, such cores on 10 Gbit/s", small, ethernet, processes, rows, steps))
    for steps in (128, 512):
        print(line("4×4096, GPUs of one host", large, node, 8, 32, steps))
    for steps in (128, 512):
        print(line("4×4096, 64 hosts of 8", large, cluster, 512, 32, steps))
    print(line("the same, gradient in 16 bits", large, halved, 512, 32, 512))
    print()
    for name, machine in (("10 Gbit/s", ethernet), ("one host", node), ("64 hosts", cluster)):
        rate, speed = machine.rate / 1e12, machine.bandwidth / 1e9
        print(f"assumed, {name}: {rate:.3g} Tflop/s, {1e6 * machine.latency:g} µs, {speed:g} GB/s")
    state = 512 * 32 * 2 * large.layers * large.hidden * 4
    print(f"\n4×4096: {large.dense / 1e6:,.0f} million weights; the state of all rows of 512 processes: {state / 1e9:.1f} GB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/scale.json"))
