"""VSLA measured: stacking, layouts, patterns, contexts, a model of 1.3 B parameters, the front of the search space."""
