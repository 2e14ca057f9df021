"""The contracts of the users and items dimensions: one row is one version of an entity, valid from–to."""

from __future__ import annotations

from intent_spark.lakehouse.contract import Column, TableContract

VALIDITY = (
    Column("valid_from", "date", "first day on which the row holds", nullable=False),
    Column("valid_to", "date", "first day on which it holds no more; null while it does"),
    Column("stated_on", "array<date>", "the days of the statements that said so", nullable=False),
    Column(
        "said_from", "date", "of an entity's first version: the earliest day from which it was ever said to be there"
    ),
)
GONE = Column("gone", "boolean", "true over days on which it was not there; all else is null then")

USERS = TableContract(
    name="users",
    row="one user as known over a range of days",
    written_by="ingest_users",
    keys=("user_id", "valid_from"),
    owner="crm",
    columns=(
        Column("user_id", "string", "the user", nullable=False),
        *VALIDITY,
        Column("age", "int", "age as stated", "years"),
        Column("gender", "string", "gender as stated"),
        Column("city_tier", "int", "tier of the user's city, 1 the largest"),
        Column("registration_date", "date", "day of registration"),
        Column("marketing_consent", "boolean", "whether the user may be written to"),
        GONE,
    ),
)

ITEMS = TableContract(
    name="items",
    row="one item as offered over a range of days",
    written_by="ingest_items",
    keys=("item_id", "valid_from"),
    owner="catalogue",
    columns=(
        Column("item_id", "string", "the item", nullable=False),
        *VALIDITY,
        Column("category", "string", "category path"),
        Column("brand", "string", "brand"),
        Column("price", "bigint", "list price", "minor units"),
        Column("title", "string", "title"),
        GONE,
    ),
)
