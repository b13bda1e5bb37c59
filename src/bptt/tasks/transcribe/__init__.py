"""Transcribing speech: recurrent layers over log-mel frames, trained by CTC, read out by a search through prefixes.

Import from its modules, as in ``from bptt.tasks.transcribe.task import TranscribeTask``: the settings alone need no torch.
"""
