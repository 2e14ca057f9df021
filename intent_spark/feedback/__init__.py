"""Scores and outcomes to metrics, calibration, drift and the decision to retrain."""
