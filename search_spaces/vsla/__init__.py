"""The `vsla` space: GPT-2s over documents, with an attention pattern for every head."""
