"""What raw data looks like: the mapping of one source onto the events contract, ``conf/sources/<name>.yaml``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from intent_spark.config.gates import GateSettings
from intent_spark.config.shop import DateRange, ShopSettings
from intent_spark.config.strict import Strict

TYPED_FORMATS = ("parquet", "avro")
FORMATS = ("csv", "jsonl", *TYPED_FORMATS)
EVENT_TYPES = ("view", "search", "cart", "favourite", "purchase", "return")


class TextFormat(Strict):
    """A row a line of text: CSV or JSON lines, compressed or not."""

    delimiter: str = Field(
        default=",", pattern=r"^(.|blanks)$", description="one character, or 'blanks' for runs of white space"
    )
    header: bool = False
    columns: list[str] | None = Field(default=None, description="the columns' names where no header has them")
    encoding: Literal[
        "utf-8", "iso-8859-1", "iso-8859-15", "windows-1250", "windows-1251", "windows-1252", "gb18030"
    ] = "utf-8"


class TimeField(Strict):
    """A time in the raw data. ``zone`` is used where the text has no offset of its own."""

    value: str = Field(description="a column or SQL expression")
    format: str = Field(description="unix_seconds, unix_milliseconds, iso, or a Spark date pattern")
    zone: str = "UTC"


class MoneyField(Strict):
    """An amount in major units (12.34) and its currency; stored as integer minor units (1234)."""

    value: str
    currency: str | None = Field(default=None, description="SQL expression; the shop's currency if not said")


class Split(Strict):
    """A raw row that holds several events: each element of an array becomes a row with a column of its own."""

    by: str = Field(description="SQL expression of an array over the raw columns")
    into: str = Field(pattern=r"^[A-Za-z]\w*$", description="the column that holds the element; fields may read it")


class EventFields(Strict):
    """Column or SQL expression over the raw columns for each field of the events contract."""

    event_id: str | None = None
    user_id: str
    event_type: str
    item_id: str = "null"
    category: str = "null"
    quantity: str = "1"
    session_id: str | None = Field(default=None, description="where the source has none, gaps cut sessions")
    price: MoneyField | None = None
    event_time: TimeField
    ingest_time: TimeField | None = None


class DimensionMapping(Strict):
    """Users or items: where they lie, what a file says of those it does not name, what each column comes from."""

    path: str = Field(description="below --input, a file, folder or glob; {date} is the snapshot's day")
    key: str
    valid_from: str = Field(description="SQL expression over the raw columns: the day the row began to hold")
    columns: dict[str, str] = Field(description="contract column: SQL expression over the raw columns")
    kind: Literal["changes", "snapshot"] = Field(
        default="changes", description="snapshot: who is not in the files of a --date is gone from that day on"
    )
    gone: str = Field(default="false", description="SQL condition over the raw columns: the row says it is gone")


class KafkaSettings(Strict):
    """A topic whose records' values are lines of the mapping's text format."""

    servers: str = Field(description="host:port, several by commas")
    topic: str = Field(pattern=r"^[\w.-]+$")
    options: dict[str, str] = Field(
        default_factory=dict, description="further options of Spark's reader, such as kafka.security.protocol"
    )


class SourceMapping(Strict):
    """One source: the shop it belongs to, its format and its fields."""

    description: str
    shop: ShopSettings
    format: Literal["csv", "jsonl", "parquet", "avro"]
    text: TextFormat = TextFormat()
    path: str = Field(default="", description="where events lie below --input when no day is asked for")
    daily_path: str | None = Field(default=None, description="where one day's events lie; {date} is the ISO day")
    dates: DateRange = DateRange()
    where: str | None = Field(
        default=None, description="SQL condition; rows of which it is false are left out, and counted"
    )
    split: Split | None = None
    id_columns: list[str] = Field(default_factory=list, description="hashed to an event id where there is none")
    tie_break: list[str] = Field(
        default_factory=list,
        description="SQL expressions: of an event's copies of one event_time and ingest_time the smallest is kept",
    )
    session_gap_minutes: PositiveInt = Field(
        default=30, le=24 * 60, description="where the source has no sessions, a longer gap begins a new one"
    )
    event_types: dict[str, str] = Field(description="raw value: event type of the contract")
    fields: EventFields
    gates: GateSettings = GateSettings()
    kafka: KafkaSettings | None = Field(default=None, description="where --available-now reads from, not from files")
    users: DimensionMapping | None = None
    items: DimensionMapping | None = None

    @field_validator("event_types")
    @classmethod
    def _known_types(cls, value: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(value.values()) - set(EVENT_TYPES))
        if unknown:
            raise ValueError(f"maps to {', '.join(unknown)}; allowed are {', '.join(EVENT_TYPES)}")
        return value

    @model_validator(mode="after")
    def _has_ids(self) -> SourceMapping:
        if self.fields.event_id is None and not self.id_columns:
            raise ValueError("needs fields.event_id, or id_columns to hash one from")
        if self.format == "csv" and not self.text.header and not self.text.columns:
            raise ValueError("a csv without header needs text.columns")
        if self.format == "jsonl" and not self.text.columns:
            raise ValueError("jsonl needs text.columns, the names to read")
        return self
