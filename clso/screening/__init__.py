"""Screening: a surrogate says which candidates are worth a measurement, and is audited all the
time."""
