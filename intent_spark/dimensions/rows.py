"""Raw rows of users or items, in any format that a source mapping names."""

from __future__ import annotations

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

from intent_spark.config.errors import UsageError
from intent_spark.config.source import TYPED_FORMATS, SourceMapping
from intent_spark.lakehouse.causes import AVRO_IS_LACKING, lacks_avro


def read_rows(spark: SparkSession, files: list[str], mapping: SourceMapping) -> DataFrame:
    """The rows as they are: text columns of csv, typed ones of the other formats.

    Raises:
        UsageError: the text is cut by blanks, or Spark lacks the module for the format.
    """
    text = mapping.text
    if mapping.format in TYPED_FORMATS:
        try:
            return spark.read.format(mapping.format).load(files)
        except AnalysisException as error:
            if lacks_avro(error):
                raise UsageError(AVRO_IS_LACKING) from error
            raise
    if mapping.format == "jsonl":
        # Spark finds lines by itself in UTF-8 alone.
        return spark.read.json(files, encoding=text.encoding, lineSep=None if text.encoding == "utf-8" else "\n")
    if text.delimiter == "blanks":
        raise UsageError("users and items are not read from text that is cut by blanks: give them another delimiter.")
    named = ", ".join(f"`{name}` string" for name in text.columns or [])
    return spark.read.csv(files, schema=named or None, header=text.header, sep=text.delimiter, encoding=text.encoding)
