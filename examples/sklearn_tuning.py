"""Tune a scikit-learn classifier, its preprocessing included; settings that do not fit together fail, and the
search goes on.

    python examples/sklearn_tuning.py
"""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.datasets import load_wine
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC

from clso import Measure, minimize

X, Y = load_wine(return_X_y=True)
CHOICES: dict[str, list[Any]] = {
    "scaler": ["standard", "minmax", "none"],
    "C": [10.0**k for k in range(-4, 4)],
    "penalty": ["l1", "l2"],
    "loss": ["hinge", "squared_hinge"],
    "dual": [False, True],  # not all of these go together
    "class_weight": [None, "balanced"],
}


def accuracy(x: dict[str, Any]) -> float:
    """Of three folds. Raises ValueError if penalty, loss and dual do not go together."""
    scalers = {"standard": [StandardScaler()], "minmax": [MinMaxScaler()], "none": []}
    settings = {name: value for name, value in x.items() if name != "scaler"}
    model = LinearSVC(**settings, max_iter=500, random_state=0)
    pipeline = make_pipeline(*scalers[x["scaler"]], model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what does not converge scores badly, and that is enough
        return float(cross_val_score(pipeline, X, Y, cv=3, error_score="raise").mean())


if __name__ == "__main__":
    result = minimize(
        accuracy,
        CHOICES,
        50,
        seed=0,
        objectives=[Measure("accuracy", "max")],
        catch=(ValueError,),
    )
    print(f"accuracy {result.value:.3f} with {result.x}")
    print(f"{len(result.failures)} of {len(result.evaluations)} failed, the first:")
    print(f"  {result.failures[0].reason}")
