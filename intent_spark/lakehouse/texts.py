"""Many columns from SQL text: a Column that Python makes costs a dozen calls into Java, a text costs one.

A snapshot has hundreds of columns in each of its steps; making them one by one took as long as computing a small one.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame

# SQL by the name of the column that it makes.
Texts = Mapping[str, str]


def selected(frame: DataFrame, kept: tuple[str, ...], texts: Texts) -> DataFrame:
    """Some columns as they are, ``*`` for all, and those that texts make of the row."""
    return frame.selectExpr(*kept, *_named(texts))


def folded(frame: DataFrame, keys: tuple[str, ...], texts: Texts) -> DataFrame:
    """One row for each value of the keys, with what texts make of its rows.

    Not for a frame that is cached itself: Spark forgets what it cached of a view that is dropped.
    """
    # As a statement: agg takes no texts, and a struct of them all would not always be taken apart before it is planned.
    braces = str.maketrans({"{": "{{", "}": "}}"})
    columns = ", ".join([*keys, *_named(texts)]).translate(braces)
    return frame.sparkSession.sql(f"select {columns} from {{rows}} group by {', '.join(keys)}", rows=frame)


def folded_in_order(frame: DataFrame, keys: tuple[str, ...], texts: Texts) -> DataFrame:
    """As ``folded``, of rows that are sorted by the keys first where they lie.

    For what is collected: within ``one_pass_folds`` Spark folds in one pass with one key's values in memory, where it
    would otherwise fill a hash table, give it up for a sort after 128 keys, and do so twice. Plain sums are faster by
    hash, and stay so: Spark leaves out a sort that they do not need.
    """
    return folded(frame.sortWithinPartitions(*keys), keys, texts)


def _named(texts: Texts) -> list[str]:
    return [f"{text} as `{name}`" for name, text in texts.items()]
