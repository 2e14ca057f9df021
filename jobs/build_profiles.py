"""Events into daily partials, and these into the users' profiles at a date."""

from intent_spark.pipeline.cli import program
from intent_spark.profiles.job import BuildProfiles

if __name__ == "__main__":
    program(BuildProfiles())
