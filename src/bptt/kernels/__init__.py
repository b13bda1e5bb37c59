"""What executes a layer over a stretch of time. A kernel never changes the mathematics; `reference` is its meaning."""

from bptt.kernels.contract import Layer as Layer, Rows as Rows, State as State, Weights as Weights
from bptt.kernels.select import (
    Kernel as Kernel,
    check_name as check_name,
    choose as choose,
    explain as explain,
    table as table,
)
