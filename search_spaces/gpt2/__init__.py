"""GPT-2 from grown, random or warm crystals."""
