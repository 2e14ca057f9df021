"""A shop with a known answer: raw files as a real shop logs them, and true purchase probabilities."""
