"""Two objectives: a small network's error on noisy data against its number of parameters, as a Pareto front.

python examples/multi_objective.py
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.neural_network import MLPRegressor

from clso import minimize

RNG = np.random.default_rng(0)
X = RNG.uniform(-3, 3, (300, 1))
Y = np.sin(2 * X[:, 0]) + 0.1 * RNG.standard_normal(300)
CHOICES: dict[str, list[Any]] = {
    "width": [2, 4, 8, 16, 32],
    "depth": [1, 2, 3],
    "activation": ["tanh", "relu"],
}


def error_and_size(x: dict[str, Any]) -> dict[str, float]:
    """Mean squared error on the last third of the data, and parameters."""
    model = MLPRegressor(
        hidden_layer_sizes=(x["width"],) * x["depth"],
        activation=x["activation"],
        solver="lbfgs",
        max_iter=150,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 150 steps are not to convergence
        model.fit(X[:200], Y[:200])
    error = float(np.mean((model.predict(X[200:]) - Y[200:]) ** 2))
    return {"error": error, "parameters": sum(c.size for c in [*model.coefs_, *model.intercepts_])}


if __name__ == "__main__":
    result = minimize(
        error_and_size, CHOICES, 24, seed=0, surrogate="forest", objectives=("error", "parameters")
    )
    print("parameters   error  choices")
    for x, values in sorted(result.front, key=lambda pair: pair[1]["parameters"]):
        print(f"{values['parameters']:10.0f}  {values['error']:6.4f}  {x}")
