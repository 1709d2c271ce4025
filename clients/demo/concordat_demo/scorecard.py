"""The lender's model, a binned logistic scorecard, and how well it tells bad loans from good ones.

Both scorecards, without and with the pooled signals, are made by the same procedure:

- amounts fall into ten bins of equal size, names (state, employment, ...) are bins as they are,
  each bin is a 0/1 column, and names too rare to learn from share a bin;
- a signal of b bands becomes b - 1 columns "at least band k", so that neighbouring bands share
  what is known about them, and one column "unknown": unknown is a bin of its own, never bad;
- logistic regression with one L2 penalty for both.

Every figure is out of fold: each loan is scored only by models that were trained without it, in
stratified five-fold cross-validation, three times over with other folds; its score is the mean of
the three. A single split would leave some hundred bad loans to judge by. All folds together use
all of them, so their figures vary less. Bins, penalty and the choice of signals were settled on
this same sample, so the figures are a little kinder than those on loans never seen at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

from concordat_demo.data import OWN_CATEGORIES, OWN_NUMBERS

FOLDS: Final = 5
REPEATS: Final = 3
_BINS: Final = 10
_RARE: Final = 0.005
_INVERSE_PENALTY: Final = 0.01
"""Strong, because five hundred bad loans can carry few weights. From 0.005 to 0.02 neither
model's AUC moves by more than 0.005."""

Scores = npt.NDArray[np.float64]
Outcomes = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well out-of-fold scores rank the loans."""

    auc: float
    """Area under the ROC curve."""
    ks: float
    """Kolmogorov-Smirnov distance of good and bad: the ROC curve's greatest height over chance."""
    scores: Scores


@dataclass(frozen=True, slots=True)
class ApprovalCurve:
    """Bad rate among the approved, for each share of applicants approved, safest first."""

    share: Scores
    bad_rate: Scores

    def approval_at(self, bad_rate: float) -> float:
        """The largest share that can be approved with at most this bad rate; 0 if none can."""
        within = np.flatnonzero(self.bad_rate <= bad_rate)
        return float(self.share[within[-1]]) if len(within) else 0.0

    def bad_rate_at(self, share: float) -> float:
        """The bad rate when this share, or the next larger one that is possible, is approved."""
        return float(self.bad_rate[np.searchsorted(self.share, share).clip(0, len(self.share) - 1)])


def band_columns(bands: Mapping[str, npt.NDArray[np.int64]], widths: Mapping[str, int]) -> Scores:
    """Signals as 0/1 columns. `bands` holds band numbers, 0 for unknown; `widths` how many bands.

    Shape (persons, sum of widths): for each signal "at least band 2" ... "at least band b", then
    "unknown".
    """
    columns = [
        np.column_stack([*(values >= k for k in range(2, widths[name] + 1)), values == 0])
        for name, values in bands.items()
    ]
    return np.hstack(columns).astype(np.float64)


def evaluate(
    own: pd.DataFrame,
    is_bad: Outcomes,
    signals: Scores | None = None,
    *,
    seed: int,
    done: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Out-of-fold figures of a scorecard on the own fields, and on `signals` if given.

    `done` is called after each of the FOLDS * REPEATS trainings.
    """
    features, names = own, []
    if signals is not None:
        names = [f"signal_{i}" for i in range(signals.shape[1])]
        features = pd.concat([own, pd.DataFrame(signals, own.index, names)], axis=1)
    scores = np.zeros(len(is_bad))
    for repeat in range(REPEATS):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed + repeat)
        for train, held_out in folds.split(features, is_bad):
            model = _scorecard(names).fit(features.iloc[train], is_bad[train])
            scores[held_out] += model.predict_proba(features.iloc[held_out])[:, 1] / REPEATS
            done()
    false_rate, true_rate, _ = roc_curve(is_bad, scores)
    return Evaluation(
        auc=float(roc_auc_score(is_bad, scores)),
        ks=float(np.max(true_rate - false_rate)),
        scores=scores,
    )


def _scorecard(signal_columns: list[str]) -> Pipeline:
    numbers = KBinsDiscretizer(
        _BINS, encode="onehot-dense", quantile_method="averaged_inverted_cdf"
    )
    categories = OneHotEncoder(
        min_frequency=_RARE, handle_unknown="infrequent_if_exist", sparse_output=False
    )
    binning = ColumnTransformer(
        [
            ("numbers", numbers, list(OWN_NUMBERS)),
            ("categories", categories, list(OWN_CATEGORIES)),
            ("signals", "passthrough", signal_columns),
        ]
    )
    regression = LogisticRegression(C=_INVERSE_PENALTY, solver="newton-cholesky")
    return make_pipeline(binning, regression)


def approval_curve(scores: Scores, is_bad: Outcomes) -> ApprovalCurve:
    """The approval curve of these scores; people of equal score are approved together."""
    order = np.argsort(scores, kind="stable")
    approved = np.arange(1, len(scores) + 1)
    bad_rate = np.cumsum(is_bad[order]) / approved
    ordered = scores[order]
    is_cut = np.append(ordered[1:] > ordered[:-1], True)
    return ApprovalCurve(share=(approved / len(scores))[is_cut], bad_rate=bad_rate[is_cut])


def gain_interval(
    own: Scores, enriched: Scores, is_bad: Outcomes, *, seed: int, resamples: int = 500
) -> tuple[float, float]:
    """The middle 95 percent of AUC gains over bootstrap samples of the same loans for both."""
    source = np.random.default_rng(seed)
    good, bad = np.flatnonzero(~is_bad), np.flatnonzero(is_bad)
    gains = []
    for _ in range(resamples):
        drawn = np.concatenate([source.choice(good, len(good)), source.choice(bad, len(bad))])
        drawn_bad = is_bad[drawn]
        gains.append(
            roc_auc_score(drawn_bad, enriched[drawn]) - roc_auc_score(drawn_bad, own[drawn])
        )
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(high)
