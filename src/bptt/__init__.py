"""Train recurrent networks by backpropagation through time."""

from bptt import nn as nn, through as through
from bptt.backprop import Backprop as Backprop, Window as Window, backprop as backprop, evaluate as evaluate
from bptt.data import Piece as Piece
from bptt.loss import CrossEntropy as CrossEntropy, SquaredError as SquaredError
from bptt.through import Full as Full, Strategy as Strategy, Truncated as Truncated
