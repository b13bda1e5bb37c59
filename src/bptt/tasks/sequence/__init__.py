"""Sequences of sets of labels: learn which come next.

Import from its modules, as in ``from bptt.tasks.sequence.model import SequenceModel``: the settings alone need no torch.
"""
