from __future__ import annotations

import pytest
from profiled import settings

from clso.profiling.run import Profile, run_profile


@pytest.fixture(scope="session")
def measured() -> Profile:
    """Four models at three lengths."""
    return run_profile(
        settings("Bigram", "Lstm", "Transformer", "FullAttention", lengths=(128, 256, 512), batch=2)
    )
