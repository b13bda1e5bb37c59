"""Equipment maintenance: how long will this machine go on, and when to raise the alarm.

Import from its modules, as in ``from bptt.tasks.maintain.task import MaintainTask``: the settings alone need no torch.
"""
