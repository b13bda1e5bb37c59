"""Data as sequences for training through time: streams of tokens, text, tables."""

from bptt.data.batches import Batches as Batches, Examples as Examples
from bptt.data.characters import Bytes as Bytes, Characters as Characters
from bptt.data.encode import (
    Split as Split,
    encode_file as encode_file,
    fit_vocabulary as fit_vocabulary,
    split as split,
    vocabulary_from_json as vocabulary_from_json,
)
from bptt.data.grid import Frequency as Frequency
from bptt.data.ngram import Baselines as Baselines, baselines as baselines
from bptt.data.panel import Panel as Panel
from bptt.data.piece import Piece as Piece
from bptt.data.problems import (
    Adding as Adding,
    Copy as Copy,
    EmbeddedReber as EmbeddedReber,
    Problem as Problem,
    TemporalOrder as TemporalOrder,
)
from bptt.data.scale import Scaler as Scaler
from bptt.data.source import Source as Source
from bptt.data.stream import Stream as Stream
from bptt.data.subwords import Subwords as Subwords
from bptt.data.table import Parts as Parts, Table as Table
from bptt.data.tablefile import read_panel as read_panel, read_table as read_table
from bptt.data.text import read_text as read_text
from bptt.data.vocabulary import Decoder as Decoder, UnknownCharacter as UnknownCharacter, Vocabulary as Vocabulary
from bptt.data.windows import Joined as Joined, Windows as Windows
from bptt.data.words import Words as Words
