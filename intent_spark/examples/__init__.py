"""Profiles and later purchases to training examples: labels, splits, manifest."""
