"""The native CPU kernels as a kernel: C++ behind torch, eager (`function`) and compiled (`operators`)."""

from bptt.kernels.native.kernel import Native as Native
