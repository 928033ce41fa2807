"""The energy proof: whole CLSO runs against AdamW under one meter, by the protocol of
docs/energy.md.

prove(RunConfig(...), ProveConfig(seeds=8), Path("runs/2026-01-31_h100"))
"""

from __future__ import annotations

from clso.prove.config import ProveConfig
from clso.prove.protocol import prove

__all__ = ["ProveConfig", "prove"]
