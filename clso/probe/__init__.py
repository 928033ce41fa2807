"""What a trained sequence model does on a task: a framework of metrics, each with a definition.

    record = run_probe(ProbeSettings(subjects=("simple-nsm", "lstm"), task="listops"))

Importing this package imports no torch.
"""

from __future__ import annotations

from clso.probe.settings import ProbeSettings

__all__ = ["ProbeSettings"]
