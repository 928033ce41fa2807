"""Where a run's figures go besides its record: TensorBoard, MLflow, Weights & Biases, Trackio, or a
logger of yours under the entry-point group `clso.loggers`."""

from clso.loggers.base import Logger
from clso.loggers.listener import load_loggers, logged

__all__ = ["Logger", "load_loggers", "logged"]
