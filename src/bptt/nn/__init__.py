"""Recurrent layers: they take the place of torch's, and add masks, resets, clipping at every step and a choice of kernel."""

from bptt.nn import init as init
from bptt.nn.layers import GRU as GRU, LSTM as LSTM, RNN as RNN
from bptt.nn.recurrent import Recurrent as Recurrent
