"""What a sequence model costs: parameters, FLOPs, time, memory, gradient norm and energy, by
length.

    record = run_profile(ProfileSettings(models=("lstm", "transformer"), lengths=(1024, 2048)))

Importing this package imports no torch.
"""

from __future__ import annotations

from clso.profiling.settings import ProfileSettings

__all__ = ["ProfileSettings"]
