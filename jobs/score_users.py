"""Profiles at a date and the model into a score for every user."""

from intent_spark.pipeline.cli import program
from intent_spark.scoring.job import ScoreUsers

if __name__ == "__main__":
    program(ScoreUsers())
