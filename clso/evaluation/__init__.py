"""Measuring candidates: result types, token blocks, the batched language-model objective,
evaluators."""

from __future__ import annotations
