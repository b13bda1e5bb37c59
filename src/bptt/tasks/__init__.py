"""Whole tasks: a model, its loss, its data and its figures. `registry` lists them; each has a room of its own."""

from bptt.tasks.fit import load as load, train as train
from bptt.tasks.registry import Entry as Entry, entry as entry, tasks as tasks
