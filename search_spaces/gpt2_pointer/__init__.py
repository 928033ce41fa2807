"""GPT-2 with a pointer mixed in: not a GPT-2, and reported apart."""
