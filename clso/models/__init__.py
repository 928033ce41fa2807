"""Models: GPT-2 as one module, and as a population that shares every kernel launch."""

from __future__ import annotations
