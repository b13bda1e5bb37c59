"""Forecasting tables: learn the next rows, with intervals, beside the plain baselines.

Import from its modules, as in ``from bptt.tasks.forecast.model import ForecastModel``: the settings alone need no torch.
"""
