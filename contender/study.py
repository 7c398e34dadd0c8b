"""What to try next, and whether to go on with a trial: Optuna, asked anew each time.

The study is rebuilt from the trials before, and its sampler's seed is the trial's own: the same trials give the same next one, in
whatever process, after whatever kill. Nothing of Optuna's is kept. Trials side by side are a generation: each follows from what earlier
generations came to, and from the values alone of those ahead of it in its own, so that it does not matter which of them ends first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from contender.records import digest
from contender.searching import TriedTrial
from contender.searchspec import Parameter, Search, Value, Values

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

MOST_FOR_GP = 4  # keys, all of which always matter: a Gaussian process then needs fewer trials than TPE
THIRD = 3  # of those that got so far, one in so many goes on
# Epochs before an early look: a score that rises fastest at first is not the one that ends highest, the less so where the rate decays.
FEWEST_EPOCHS = 9
ENOUGH_FOR_IMPORTANCE = 4  # finished trials
# Trials at random before there is a model of them: a quarter of all, at most so many.
FIRST_RANDOM, RANDOM_SHARE = 10, 4
MEDIAN_STARTS = 4  # trials that median lets finish first


class NextTrial:
    """The trial that follows others: its values, and whether its curve so far is worth going on with.

    `beside`: the values of trials that follow the same ones, ahead of this one, and of which nothing else is known yet.
    """

    def __init__(
        self,
        search: Search,
        seed: int,
        before: Sequence[TriedTrial],
        higher_is_better: bool,
        beside: Sequence[Values] = (),
    ) -> None:
        self.number = len(before) + len(beside) + 1
        self._search = search
        self._before = before
        self._epoch = 0
        self._sign = 1 if higher_is_better else -1
        self._trial: optuna.Trial | None = None
        self.changes: dict[str, Value] = {}
        self.given = self.number <= len(search.given)
        if self.given:
            self.changes = {**search.given[self.number - 1]}
            return
        self._trial = _study(search, seed, before, higher_is_better, search.objectives, beside).ask()
        if search.method == "grid":
            self.changes = search.combinations()[self.number - len(search.given) - 1]
            return
        for key, parameter in search.ordered:
            if parameter.active(self.changes):
                self.changes[key] = _suggested(self._trial, key, parameter)

    def is_hopeless(self, epoch: int, score: float, epochs: float) -> bool:
        """Whether others were so much better after as many epochs that this one need not go on.

        `score`: the better the higher; `epochs`: of the whole training.
        """
        if self._trial is None or epoch <= self._epoch or self._search.prune == "none":
            return False
        self._epoch, rungs = epoch, looks(epochs)
        if self._search.prune == "asha":
            others = [point.score for trial in self._before for point in trial.curve if point.epoch == epoch]
            return epoch in rungs and falls_behind(score, others)
        self._trial.report(self._sign * score, epoch)
        return epoch >= rungs[0] and self._trial.should_prune()


def looks(epochs: float) -> list[int]:
    """Epochs after which asha looks at a training of so many, ascending: a third of it; also a ninth and so on, from FEWEST_EPOCHS on."""
    found = [math.ceil(epochs / THIRD)]
    while (earlier := math.ceil(found[0] / THIRD)) >= FEWEST_EPOCHS:
        found.insert(0, earlier)
    return found


def falls_behind(score: float, others: Sequence[float]) -> bool:
    """Asynchronous successive halving at one rung (Li et al. 2020, arXiv 1810.05934): not among the best third of those that came here.

    Optuna's keeps its rungs in attributes of its own trials, which a study that is rebuilt does not have.
    """
    ranked = sorted([*others, score], reverse=True)
    return score < ranked[max(1, len(ranked) // THIRD) - 1]


def importance(search: Search, trials: Sequence[TriedTrial], higher_is_better: bool) -> dict[str, float]:
    """Key → its share of what moved the score, the largest first; {} where too few trials finished."""
    if sum(trial.score is not None and bool(trial.changes) for trial in trials) < ENOUGH_FOR_IMPORTANCE:
        return {}
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it calls experimental
        found = get_param_importances(
            _study(search, 0, trials, higher_is_better), evaluator=PedAnovaImportanceEvaluator()
        )
    return {key: float(share) for key, share in found.items()}


def _study(
    search: Search,
    seed: int,
    trials: Sequence[TriedTrial],
    higher_is_better: bool,
    objectives: Sequence[str] = (),
    running: Sequence[Values] = (),
) -> optuna.Study:
    """`objectives`: those beside the primary metric; `running`: the values of trials that are not over."""
    import optuna

    from contender.judging.words import facts

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    drawn = int(digest([seed, len(trials) + len(running)])[:8], 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it calls experimental
        study = optuna.create_study(
            directions=[
                "maximize" if higher else "minimize"
                for higher in (higher_is_better, *(facts(name).higher_is_better for name in objectives))
            ],
            sampler=_sampler(search, drawn),
            pruner=_pruner(search),
        )
    for trial in trials:
        if _is_whole(search, trial.changes):
            study.add_trial(_frozen(search, trial, 1 if higher_is_better else -1, objectives))
    for changes in running:
        if _is_whole(search, changes):
            study.add_trial(_running(search, changes))
    return study


def _is_whole(search: Search, changes: Values) -> bool:
    """Whether it has a value of every key that matters; the first trials, of the spec and of a champion, may have fewer."""
    return changes.keys() == {key for key, one in search.ordered if one.active(changes)}


def _running(search: Search, changes: Values) -> optuna.trial.FrozenTrial:
    """One that samplers keep away from, as if it were going to come to little."""
    from optuna.trial import TrialState, create_trial

    distributions = {key: _distribution(search, search.space[key]) for key in changes}
    return create_trial(state=TrialState.RUNNING, params=dict(changes), distributions=distributions)


def _frozen(search: Search, trial: TriedTrial, sign: int, objectives: Sequence[str]) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial

    found = trial.metrics | trial.costs
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    return create_trial(
        state=states[trial.state],
        values=None if trial.score is None else [trial.score, *(found[name] for name in objectives)],
        params=trial.changes,
        distributions={key: _distribution(search, search.space[key]) for key in trial.changes},
        intermediate_values={point.epoch: sign * point.score for point in trial.curve},
    )


def _sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import GPSampler, RandomSampler, TPESampler

    if search.method != "bayesian":
        return RandomSampler(seed=seed)
    first = max(2, min(FIRST_RANDOM, search.most // RANDOM_SHARE))
    conditional = any(parameter.when for parameter in search.space.values())
    # A Gaussian process takes final scores alone: it would ask for what was pruned again and again.
    if len(search.space) <= MOST_FOR_GP and not conditional and search.prune == "none":
        return GPSampler(seed=seed, n_startup_trials=first)
    return TPESampler(seed=seed, n_startup_trials=first, multivariate=True, group=True)


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    from optuna.pruners import MedianPruner, NopPruner

    return MedianPruner(n_startup_trials=MEDIAN_STARTS) if search.prune == "median" else NopPruner()


def _suggested(trial: optuna.Trial, key: str, parameter: Parameter) -> Value:
    if parameter.values is not None:
        return cast(Value, trial.suggest_categorical(key, parameter.values))
    low, high = parameter.ends
    log = parameter.scale == "log"
    if parameter.whole:
        return trial.suggest_int(key, low, high, step=int(parameter.step or 1), log=log)
    return trial.suggest_float(key, low, high, step=parameter.step, log=log)


def _distribution(search: Search, parameter: Parameter) -> BaseDistribution:
    """The same, of a value that was chosen."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.values is not None or search.method == "grid":
        return CategoricalDistribution(parameter.listed or ())
    low, high = parameter.ends
    log: Any = {"log": parameter.scale == "log"}
    if parameter.whole:
        return IntDistribution(low, high, step=int(parameter.step or 1), **log)
    return FloatDistribution(low, high, step=parameter.step, **log)
