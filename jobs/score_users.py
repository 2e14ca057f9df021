"""Profiles at a date and the model into a score for every user."""

from intent_spark.pipeline.cli import main
from intent_spark.scoring.job import ScoreUsers

if __name__ == "__main__":
    main(ScoreUsers())
