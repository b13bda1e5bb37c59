"""Classifying texts: sentiment, topic, any label; trained beside plain baselines, with the words that carried each answer.

Import from its modules, as in ``from bptt.tasks.classify.model import ClassifyModel``: the settings alone need no torch.
"""
