"""Translation: an encoder-decoder with attention on sub-words, measured by BLEU beside plain baselines.

Import from its modules, as in ``from bptt.tasks.translate.task import TranslateTask``: the settings alone need no torch.
"""
