"""Crystals grown from a corpus in closed form: one pass of counting, then linear algebra. No
gradients."""

from __future__ import annotations
