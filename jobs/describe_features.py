"""Write the feature page: lineage, distribution and a sample user's value of every feature."""

from intent_spark.pipeline.cli import program
from intent_spark.profiles.describe import DescribeFeatures

if __name__ == "__main__":
    program(DescribeFeatures())
