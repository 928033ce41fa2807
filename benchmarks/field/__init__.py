"""CLSO's engine against the field: the same problems, evaluations and seeds for every optimiser,
one table."""

from pathlib import Path

__all__ = ["RECORD"]

RECORD = Path(__file__).parents[2] / "runs/2026-11-29_field-suites"
"""The committed record of the suites."""
