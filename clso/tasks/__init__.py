"""Sequence tasks with exact answers: generators, loaders, metrics, and AdamW training on them."""
