"""Arrow tables as single values: an engine that keeps rows as objects keeps one for thousands."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

PACKETS = pa.schema([("packet", pa.binary())])
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


def packet_of(table: pa.Table) -> bytes:
    """A table, compressed."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_COMPRESSED) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def in_packets(table: pa.Table, change: Callable[[pa.Table], pa.Table]) -> pa.Table:
    """What `change` makes of a table, as one packet."""
    return pa.table([[packet_of(change(table))]], schema=PACKETS)


def opened(packets: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows of all packets."""
    tables = [pa.ipc.open_stream(one.as_buffer()).read_all() for one in packets["packet"]]
    return pa.concat_tables([schema.empty_table(), *tables])
