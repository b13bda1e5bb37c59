"""Training: the loop, clipping, checkpoints, logs; run folders that go on exactly."""

from bptt.train.checkpoint import BadCheckpoint as BadCheckpoint
from bptt.train.clip import Clip as Clip, clip_norm as clip_norm, clip_value as clip_value, grad_norm as grad_norm
from bptt.train.divergence import Diverged as Diverged
from bptt.train.interrupt import Interrupted as Interrupted
from bptt.train.layout import FolderError as FolderError, FolderInUse as FolderInUse
from bptt.train.moment import Moment as Moment
from bptt.train.optimize import Schedule as Schedule, make_optimizer as make_optimizer, make_schedule as make_schedule
from bptt.train.processes import Elsewhere as Elsewhere, Lost as Lost
from bptt.train.reading import load_weights as load_weights, read_config as read_config, read_log as read_log
from bptt.train.run import Result as Result, Run as Run, Score as Score
from bptt.train.settings import Logs as Logs, Saving as Saving, Validation as Validation
