"""CLSO's engine against the field: the same problems, evaluations and seeds for every optimiser,
one table."""
