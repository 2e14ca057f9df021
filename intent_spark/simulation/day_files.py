"""The files of one block: appended to under a temporary name, renamed when whole."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import IO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from intent_spark.config.simulation import FileFormat
from intent_spark.simulation.encoding import LINE, csv_header, line_bytes, records_text
from intent_spark.simulation.shop_calendar import day_text

_BUFFERED_ROWS = 400_000
_REPEATING_COLUMNS = ("user_id", "event_type", "item_id", "category", "currency", "quantity", "device")


class DayFiles:
    """One events file per delivery day, under ``events/date=D/``.

    Use as a context manager; the files get their names at its end, and none does if it ends by an error.
    Rows are held back until some hundred thousands can be written together, so that Parquet's row groups
    do not become tiny.
    """

    def __init__(self, root: Path, block: int, file_format: FileFormat, columns: list[str]) -> None:
        self._root, self._block, self._format, self._columns = root, block, file_format, columns
        self._held: dict[int, list[pa.Table]] = {}
        self._held_rows = 0
        self._open: dict[int, tuple[Path, pq.ParquetWriter | IO[bytes]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        for path, writer in self._open.values():
            writer.close()
            if kind is None:
                path.replace(path.with_name(path.name.removesuffix(".tmp").removeprefix(".")))
            else:
                path.unlink()

    def add(self, day: int, rows: pa.Table) -> None:
        """Append rows that were delivered on ``day`` (days since 1970)."""
        self._held.setdefault(day, []).append(rows)
        self._held_rows += rows.num_rows
        if self._held_rows >= _BUFFERED_ROWS:
            self._flush()

    def _flush(self) -> None:
        for day in sorted(self._held):
            self._append(day, pa.concat_tables(self._held[day]))
        self._held.clear()
        self._held_rows = 0

    def _append(self, day: int, rows: pa.Table) -> None:
        if day not in self._open:
            self._open[day] = self._create(day, rows.schema)
        writer = self._open[day][1]
        if isinstance(writer, pq.ParquetWriter):
            writer.write_table(rows)
            return
        for lines in rows[LINE].chunks:
            writer.write(line_bytes(lines))

    def _create(self, day: int, schema: pa.Schema) -> tuple[Path, pq.ParquetWriter | IO[bytes]]:
        folder = self._root / "events" / f"date={day_text(day)}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".part-{self._block:05d}.{self._format}.tmp"
        if self._format == "parquet":
            return path, _parquet_writer(path, schema)
        file = path.open("wb")
        if self._format == "csv":
            file.write(csv_header(self._columns))
        return path, file


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, use_dictionary=list(_REPEATING_COLUMNS), store_schema=False)


def write_snapshot(path: Path, table: pa.Table, file_format: FileFormat) -> None:
    """Write a small table whole, under its final name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    if file_format == "parquet":
        pq.write_table(table, unfinished, store_schema=False)
    else:
        unfinished.write_bytes(records_text(table, file_format))
    unfinished.replace(path)
