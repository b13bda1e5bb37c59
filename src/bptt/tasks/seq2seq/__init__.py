"""From one sequence to another: what translation and summarization share.

Import from its modules, as in ``from bptt.tasks.seq2seq.model import Seq2SeqModel``: the settings alone need no torch.
"""
