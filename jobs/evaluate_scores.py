"""Scores and what happened after them into metrics, a report and a retrain decision."""

from intent_spark.feedback.job import EvaluateScores
from intent_spark.pipeline.cli import program

if __name__ == "__main__":
    program(EvaluateScores())
