"""Delivered rows as Arrow columns, and as the lines of JSON or CSV files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intent_spark.config.simulation import EVENT_TYPES, FileFormat
from intent_spark.simulation.catalogue import Catalogue, price_array
from intent_spark.simulation.clickstream import DEVICES, Events
from intent_spark.simulation.hidden_model import Flags, Ints
from intent_spark.simulation.identifiers import hex_ids, uniform
from intent_spark.simulation.imperfections import UNKNOWN_TYPES, Deliveries, Fault
from intent_spark.simulation.shop_calendar import ShopCalendar

LINE = "line"
EVENT_COLUMNS = [
    "event_id",
    "user_id",
    "event_type",
    "item_id",
    "category",
    "price",
    "currency",
    "quantity",
    "event_time",
    "received_at",
    "device",
    "session_id",
]
_EVENT_SALT, _SESSION_SALT = 1, 2
_SHORTEST_CUT, _CUT_RANGE = 0.2, 0.4


@dataclass(frozen=True)
class EventEncoder:
    """Turns the deliveries of a chunk into a table, ready to be cut into delivery days."""

    catalogue: Catalogue
    calendar: ShopCalendar
    currency: str

    def table(self, chunk: int, user_ids: pa.Array, events: Events, rows: Deliveries) -> pa.Table:
        """Typed columns in the order of ``rows``: times in UTC microseconds, price decimal(12, 2)."""
        event, items = rows.event, self.catalogue
        item = _index(events.item[event], events.item[event] < 0)
        event_ids = hex_ids(chunk, int(rows.number.max(initial=-1)) + 1, _EVENT_SALT)
        session_ids = hex_ids(chunk, int(events.session.max(initial=-1)) + 1, _SESSION_SALT)
        columns = [
            event_ids.take(pa.array(rows.number)),
            user_ids.take(_index(events.user[event], rows.fault == Fault.MISSING_USER)),
            _labels(_kinds(events, rows), (*EVENT_TYPES, *UNKNOWN_TYPES)),
            pa.DictionaryArray.from_arrays(item, pa.array(items.ids)),
            _labels(events.category[event], items.categories),
            price_array(items.prices_cents).take(item),
            _labels(np.zeros_like(event), (self.currency,)),
            pa.array(events.quantity[event].astype(np.int32)),
            _instants(rows.event_time),
            _instants(rows.received),
            _labels(events.device[event], DEVICES),
            session_ids.take(pa.array(events.session[event])),
        ]
        return pa.table(columns, names=EVENT_COLUMNS)

    def lines(self, table: pa.Table, rows: Deliveries, file_format: FileFormat) -> pa.Table:
        """One line of text a row, with its line end; malformed rows are cut."""
        times = {"event_time": rows.event_time, "received_at": rows.received}
        texts = [
            self._time_text(times[name]) if name in times else _text(table[name].combine_chunks())
            for name in table.column_names
        ]
        whole = _json_lines(table.schema, texts) if file_format == "jsonl" else _csv_lines(texts)
        return pa.table({LINE: _cut(whole, rows)})

    def _time_text(self, instants: Ints) -> pa.Array:
        """ISO 8601 in the shop's zone, with milliseconds and offset."""
        offsets = self.calendar.offsets(instants)
        local = pa.array(instants + offsets).cast(pa.timestamp("ms")).cast(pa.string())
        known, place = np.unique(offsets, return_inverse=True)
        suffixes = pa.array([_offset_text(int(offset)) for offset in known]).take(pa.array(place))
        return pc.binary_join_element_wise(pc.binary_replace_slice(local, 10, 11, "T"), suffixes, "")


def records_text(table: pa.Table, file_format: FileFormat) -> bytes:
    """A whole small table (users, items) as JSON lines or as CSV with a header."""
    texts = [_text(table[name].combine_chunks()) for name in table.column_names]
    lines = _json_lines(table.schema, texts) if file_format == "jsonl" else _csv_lines(texts)
    return (csv_header(table.column_names) if file_format == "csv" else b"") + line_bytes(lines)


def csv_header(names: list[str]) -> bytes:
    """The header line."""
    return (",".join(names) + "\n").encode()


def line_bytes(lines: pa.Array) -> bytes:
    """The text of all lines, which is the array's own buffer: no object per line is made."""
    offsets = np.frombuffer(lines.buffers()[1], dtype=np.int32)[lines.offset : lines.offset + len(lines) + 1]
    if len(lines) == 0:
        return b""
    return memoryview(lines.buffers()[2])[offsets[0] : offsets[-1]].tobytes()


def _index(places: Ints, null: Flags) -> pa.Array:
    return pa.array(places.astype(np.int32), mask=null)


def _labels(places: Ints, names: tuple[str, ...] | list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32)), pa.array(list(names)))


def _instants(milliseconds: Ints) -> pa.Array:
    return pa.array(milliseconds * 1000).cast(pa.timestamp("us", "UTC"))


def _kinds(events: Events, rows: Deliveries) -> Ints:
    unknown = len(EVENT_TYPES) + rows.number % len(UNKNOWN_TYPES)
    return np.where(rows.fault == Fault.UNKNOWN_TYPE, unknown, events.kind[rows.event])


def _offset_text(offset_ms: int) -> str:
    hours, minutes = divmod(abs(offset_ms) // 60_000, 60)
    return f"{'-' if offset_ms < 0 else '+'}{hours:02d}:{minutes:02d}"


def _text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return column.dictionary.take(column.indices)
    if pa.types.is_decimal(column.type):
        encoded = column.dictionary_encode()
        return encoded.dictionary.cast(pa.string()).take(encoded.indices)
    return column.cast(pa.string())


def _json_lines(schema: pa.Schema, texts: list[pa.Array]) -> pa.Array:
    pieces: list[object] = []
    for place, (field, text) in enumerate(zip(schema, texts, strict=True)):
        pieces.append(f'{"," if place else "{"}"{field.name}":')
        pieces.extend(_json_value(field, text))
    return pc.binary_join_element_wise(*pieces, "}\n", "")


def _json_value(field: pa.Field, text: pa.Array) -> list[object]:
    if not _is_quoted(field.type):
        return [pc.fill_null(text, "null")]
    if text.null_count == 0:
        return ['"', text, '"']
    return [pc.fill_null(pc.binary_join_element_wise('"', text, '"', ""), "null")]


def _is_quoted(kind: pa.DataType) -> bool:
    return not (pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind))


def _csv_lines(texts: list[pa.Array]) -> pa.Array:
    pieces: list[object] = []
    for place, text in enumerate(texts):
        pieces += ["," if place else "", pc.fill_null(text, "")]
    return pc.binary_join_element_wise(*pieces, "\n", "")


def _cut(lines: pa.Array, rows: Deliveries) -> pa.Array:
    """Cut the malformed lines well before their last fields, so that no reader can take them for whole."""
    spoiled = rows.fault == Fault.MALFORMED
    if not spoiled.any():
        return lines
    keep = _SHORTEST_CUT + _CUT_RANGE * uniform(rows.number[spoiled].astype(np.uint64))
    whole = lines.filter(pa.array(spoiled)).to_pylist()
    cut = [line[: int(len(line) * share)] + "\n" for line, share in zip(whole, keep, strict=True)]
    return pc.replace_with_mask(lines, pa.array(spoiled), pa.array(cut, pa.string()))
