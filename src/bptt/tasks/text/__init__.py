"""Language modelling: learn the next token of a text, then write.

Import from its modules, as in ``from bptt.tasks.text.model import TextModel``: the settings alone need no torch.
"""
