"""The search: the optimizer (engine and screening), and the loops that a run drives it by."""
