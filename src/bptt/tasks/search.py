"""Searching for good settings: runs of a task with other settings each, the poor ones given up early, by optuna."""

from __future__ import annotations

import math
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from bptt.tasks.config import TrainingSettings, build, option
from bptt.tasks.registry import Entry
from bptt.tasks.shared import database

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

JOURNAL, ASKING, STUDY = "search.journal", ".asking", "search"
_TRIED, _FOLDER, _HOST, _SECONDS, _WHY = 4, "folder", "host", "seconds", "why"
_LEAST = 8  # complete trials, from which on it can be said what mattered


@dataclass(frozen=True)
class Tried:
    """One trial: ``value`` is its best on the validation part, NaN where it has none; ``state`` as optuna names it.

    ``why`` a trial failed.
    """

    number: int
    settings: dict[str, Any]
    value: float
    state: str
    seconds: float
    folder: Path
    why: str = ""


def needed() -> None:
    """**Raises** ``ImportError`` naming the extra where optuna is missing."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ImportError('searching for settings needs optuna: pip install "bptt[search]"') from None


def space(kind: type[TrainingSettings], given: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """What is searched: the main settings of the task, around their defaults, without those that were ``given``.

    **Raises** ``ValueError`` where nothing is left.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    fields = kind.model_fields

    def default(key: str) -> Any:
        return fields[key].default

    found: dict[str, BaseDistribution] = {}
    known: dict[str, Callable[[], BaseDistribution]] = {
        "lr": lambda: FloatDistribution(default("lr") / 10, default("lr") * 10, log=True),
        "hidden": lambda: CategoricalDistribution([max(1, default("hidden") // 2), default("hidden"), 2 * default("hidden")]),
        "layers": lambda: IntDistribution(1, max(2, default("layers"))),
        "cell": lambda: CategoricalDistribution(["lstm", "gru"]),
        "dropout": lambda: FloatDistribution(0.0, 0.6),
        "word_dropout": lambda: FloatDistribution(0.0, 0.5),
    }
    network = {"hidden", "layers", "cell"}
    for key, make in known.items():
        if key not in fields or key in given or (key in network and "start" in given):
            continue
        made = make()
        if made._contains(made.to_internal_repr(default(key))):
            found[key] = made
    if not found:
        raise ValueError(f"nothing is left to search for: {', '.join(map(option, known))} are all given")
    return found


class Search:
    """Trials of a task in ``folder``, shared by every process that searches there; see `run`.

    - ``given``: what was given, as `bptt.tasks.config.gather` has it: it stays; the rest of `space` is searched.
    - ``trials``: how many there are to be, those of earlier sittings and of other processes with them. ``minutes``: no trial
      goes on for longer than that after the beginning.
    - ``storage``: where optuna keeps the study: a file in the folder, unless given as an address (``sqlite:///FILE``,
      ``postgresql://…``) that several machines reach.

    The first trial has the defaults. A trial whose process was killed is gone on with by the next that looks for work.
    """

    def __init__(
        self,
        task: Entry,
        given: Mapping[str, tuple[Any, str]],
        folder: Path,
        trials: int,
        minutes: float | None = None,
        storage: str | None = None,
    ) -> None:
        needed()
        kind = task.load_settings()
        assert issubclass(kind, TrainingSettings)
        self.task, self.folder, self.trials = task, folder, trials
        self._kind, self._given, self._class = kind, given, task.load_task()
        self._space = space(kind, given)
        self._ends = math.inf if minutes is None else time.monotonic() + 60 * minutes
        self._seed = build(kind, given).seed
        self._study = self._opened(storage)

    @property
    def searched(self) -> list[str]:
        """The settings that are searched."""
        return list(self._space)

    @property
    def maximize(self) -> bool:
        """Whether more is better."""
        return self._class.judged_by is not None

    @property
    def judged_by(self) -> str:
        """What trials are judged by."""
        return self._class.judged_by or "validation loss"

    def run(self, tell: Callable[[Tried], None] = lambda tried: None) -> None:  # noqa: ARG005
        """Runs trials until there are enough, or the time is over; ``tell`` is called after each that this process ran.

        **Raises** what the first trial raises, which has the defaults: then the others would fail alike.
        """
        while time.monotonic() < self._ends:
            with self._next() as trial:
                if trial is None:
                    return
                self._try(trial)
            tell(self._told(next(each for each in self._study.get_trials(deepcopy=False) if each.number == trial.number)))

    def tried(self) -> list[Tried]:
        """All trials that ended, of whichever process, the best first."""
        ended = [self._told(each) for each in self._study.get_trials(deepcopy=False) if each.state.is_finished()]
        sign = -1 if self.maximize else 1
        return sorted(ended, key=lambda each: (each.state != "complete", math.isnan(each.value), sign * each.value))

    def mattered(self) -> dict[str, float]:
        """The share of each setting in what made trials good, by PED-ANOVA; nothing where too few are complete.

        Watanabe, Bansal, Hutter, "PED-ANOVA", 2023.
        """
        import optuna

        complete = [each for each in self._study.get_trials(deepcopy=False) if each.state is optuna.trial.TrialState.COMPLETE]
        varied = [key for key in self._space if len({each.params.get(key) for each in complete}) > 1]
        if len(complete) < _LEAST or not varied:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of trials that are equally good, which is seen below
            found = optuna.importance.get_param_importances(self._study, evaluator=evaluator, params=varied)
        return found if len(varied) == 1 or len(set(found.values())) > 1 else {}

    def _opened(self, storage: str | None) -> optuna.Study:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        shared = None if storage is None else database(storage)
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = shared or JournalStorage(JournalFileBackend(str(self.folder / JOURNAL)))
        study = optuna.create_study(
            study_name=STUDY,
            storage=kept,
            load_if_exists=True,
            direction="maximize" if self.maximize else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_TRIED),
        )
        about = {"task": self.task.name, "given": {key: str(value) for key, (value, _) in sorted(self._given.items())}}
        before = study.user_attrs.get("about")
        if before is not None and before != about:
            where, other = (self.folder, "--out") if storage is None else ("that database", "database")
            raise ValueError(
                f"{where} holds a search with other settings: {before['task']} {before['given']}, now {about['task']} "
                f"{about['given']}; give them again to go on, or another {other}"
            )
        if before is None:
            study.set_user_attr("about", about)
            study.enqueue_trial({key: self._kind.model_fields[key].default for key in self._space})
        # Each process that joins draws from a seed of its own.
        study.sampler = optuna.samplers.TPESampler(
            seed=self._seed + len(study.get_trials(deepcopy=False)), multivariate=True, constant_liar=True,
            n_startup_trials=2 * _TRIED,
        )  # fmt: skip
        return study

    @contextmanager
    def _next(self) -> Iterator[optuna.Trial | None]:
        """The next trial, held by a lock in the folder for as long as this process lives; ``None`` where there are enough."""
        with FileLock(str(self.folder / ASKING)):
            self._take_up()
            under_way = [each for each in self._study.get_trials(deepcopy=False) if not self._lost(each)]
            if sum(each.state.name != "WAITING" for each in under_way) >= self.trials:
                yield None
                return
            trial = self._study.ask(self._space)
            folder = trial.user_attrs.get(_FOLDER, f"trial-{trial.number + 1}")
            trial.set_user_attr(_FOLDER, folder)
            trial.set_user_attr(_HOST, platform.node())
            lock = FileLock(str(self.folder / f".{folder}"), timeout=0)
            lock.acquire()
        try:
            yield trial
        finally:
            lock.release()

    def _take_up(self) -> None:
        """Trials whose process is gone wait to be gone on with, in the folders that they have."""
        import optuna

        for each in self._study.get_trials(deepcopy=False):
            if each.state is not optuna.trial.TrialState.RUNNING or each.user_attrs.get(_HOST) != platform.node():
                continue
            try:
                with FileLock(str(self.folder / f".{each.user_attrs[_FOLDER]}"), timeout=0):
                    pass
            except Timeout:
                continue
            self._study.tell(each.number, state=optuna.trial.TrialState.FAIL)
            self._study.enqueue_trial(each.params, user_attrs={_FOLDER: each.user_attrs[_FOLDER]})

    def _lost(self, trial: FrozenTrial) -> bool:
        """Whether another trial went on with this one."""
        return trial.state.name == "FAIL" and _WHY not in trial.user_attrs

    def _try(self, trial: optuna.Trial) -> None:
        import optuna

        from bptt.train import Diverged, Moment

        begun, ends = time.monotonic(), self._ends
        folder = self.folder / trial.user_attrs[_FOLDER]
        first = trial.number == 0

        def watch(moment: Moment) -> None:
            if time.monotonic() > ends:
                raise optuna.TrialPruned
            if moment.event == "validation":
                trial.report(float(moment.line[self._class.judged_by or "validation"]), moment.update)
                if trial.should_prune():
                    raise optuna.TrialPruned

        state, value = optuna.trial.TrialState.FAIL, None
        try:
            settings = build(self._kind, {**self._given, **{key: (value, option(key)) for key, value in trial.params.items()}})
            task = self._class(settings, folder)
            if task.validation is None:
                raise ValueError("a search needs something to validate on, but nothing is held out for it: give --valid")
            result = task.fit(folder, callbacks=[watch], progress=False)
            assert result.best is not None
            state, value = optuna.trial.TrialState.COMPLETE, result.best
        except optuna.TrialPruned:
            state = optuna.trial.TrialState.PRUNED
        except (ValueError, RuntimeError, MemoryError) as error:
            if first and not isinstance(error, Diverged):
                trial.set_user_attr(_WHY, str(error))
                self._study.tell(trial, state=state)
                raise
            trial.set_user_attr(_WHY, " ".join(str(error).split()))
        trial.set_user_attr(_SECONDS, time.monotonic() - begun)
        self._study.tell(trial, value, state=state)

    def _told(self, trial: FrozenTrial) -> Tried:
        reported = [value for value in trial.intermediate_values.values() if math.isfinite(value)]
        best = (max if self.maximize else min)(reported) if reported else math.nan
        return Tried(
            trial.number,
            dict(trial.params),
            best if trial.value is None else trial.value,
            trial.state.name.lower(),
            float(trial.user_attrs.get(_SECONDS, math.nan)),
            self.folder / str(trial.user_attrs.get(_FOLDER, f"trial-{trial.number + 1}")),
            str(trial.user_attrs.get(_WHY, "")),
        )
