"""Summarization: an encoder-decoder that may copy words of the text it reads, measured by ROUGE beside the text's beginning.

Import from its modules, as in ``from bptt.tasks.summarize.task import SummarizeTask``: the settings alone need no torch.
"""
