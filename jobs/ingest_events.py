"""Raw files into events, quarantine and ledger."""

from intent_spark.events.job import IngestEvents
from intent_spark.pipeline.cli import program

if __name__ == "__main__":
    program(IngestEvents())
