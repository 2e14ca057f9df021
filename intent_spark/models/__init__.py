"""The intent model, its inputs and the baselines it must beat: arrays in, probabilities out, no Spark."""
