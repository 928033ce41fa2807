"""AdamW training of the same architecture, given the same care."""
