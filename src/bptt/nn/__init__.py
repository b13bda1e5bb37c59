"""Recurrent layers: they take the place of torch's, and add masks, resets, clipping at every step and a choice of kernel."""

from bptt.nn import init as init
from bptt.nn.dropout import VariationalDropout as VariationalDropout, weight_drop as weight_drop
from bptt.nn.layers import GRU as GRU, LSTM as LSTM, RNN as RNN
from bptt.nn.lru import LRU as LRU
from bptt.nn.minimal import MinGRU as MinGRU, MinLSTM as MinLSTM
from bptt.nn.readout import ReadoutCrossEntropy as ReadoutCrossEntropy, readout_cross_entropy as readout_cross_entropy
from bptt.nn.recurrent import Recurrent as Recurrent
from bptt.nn.scan import linear_scan as linear_scan
from bptt.nn.scanned import Scanned as Scanned
