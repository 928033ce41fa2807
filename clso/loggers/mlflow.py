"""MLflow: a run in the experiment `clso` of the store that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clso.loggers.base import Logger

__all__ = ["MLflow"]


class MLflow(Logger):
    """Settings as parameters, figures as metrics, the winner as `winner.json`."""

    requires = "mlflow"
    extra = "mlflow"

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        import mlflow

        self._client: Any = mlflow.MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "clso")
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id
        for key, value in config.items():
            self._client.log_param(self._run, key, value)
        self._step = 0

    def values(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def winner(self, values: Mapping[str, float], alleles: Mapping[str, str]) -> None:
        self.values(self._step, values)
        self._client.log_dict(self._run, dict(alleles), "winner.json")
        self._client.set_terminated(self._run)
        self._run = ""

    def close(self) -> None:
        if self._run:  # it was interrupted
            self._client.set_terminated(self._run, status="KILLED")
