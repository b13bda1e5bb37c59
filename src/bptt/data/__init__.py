"""Data as sequences for training through time: streams of tokens, text, tables."""

from bptt.data.piece import Piece as Piece
from bptt.data.source import Source as Source
from bptt.data.stream import Stream as Stream
