//! Whether a batch that chains may be applied: who wrote it, and whether its run's snapshot is the one
//! that the watermark stands in. Pure.
//!
//! Two runs agree on where a transaction lies. They need not agree on a snapshot: which chunks stand
//! before a position, and where chunks end, is each run's own. So while a snapshot is under way a run
//! may take over from another only exactly where the watermark stands, and with the cursor that stands
//! there. One that did not is refused from then on, for a later batch of it could fit by chance; its
//! publisher is told to rewind, which begins another run.

use crate::watermark::{Parked, Watermark};
use tributary_wire::{Batch, Cell, Chunk, Header, Item, Position, SnapshotCursor, cells};

/// Longest identity of a server that the bookkeeping holds, in characters.
const IDENTITY_CHARS_MAX: usize = 255;
/// Longest set of GTIDs, in bytes. With the cursor it has to fit the answer to a heartbeat, 64 KiB.
const GTIDS_BYTES_MAX: usize = 40 << 10;
/// Longest cursor of a snapshot, in bytes: InnoDB's keys have 3072 at most.
const CURSOR_BYTES_MAX: usize = 12 << 10;

/// Why a batch cannot be recorded at all: what it says of itself is longer than any server's.
pub(crate) fn oversized(header: &Header) -> Option<Parked> {
    let resume = &header.resume;
    let gtids = resume.gtid.as_deref().map_or(0, str::len);
    let cursor = resume.snapshot.as_ref();
    let cursor = cursor.map_or(0, |at| at.database.len() + at.table.len() + at.key.len());
    let (what, remedy) = if header.source.chars().count() > IDENTITY_CHARS_MAX {
        (
            format!("a server identity of more than {IDENTITY_CHARS_MAX} characters"),
            "find out what publishes under this device's id",
        )
    } else if gtids > GTIDS_BYTES_MAX {
        (
            format!("a set of GTIDs of {gtids} bytes, more than {GTIDS_BYTES_MAX}"),
            "the device's server holds GTIDs of very many servers, or with very many gaps: let its log begin anew (RESET BINARY LOGS AND GTIDS), then begin the device anew",
        )
    } else if cursor > CURSOR_BYTES_MAX {
        (
            format!("a snapshot's cursor of {cursor} bytes, more than {CURSOR_BYTES_MAX}"),
            "find out what publishes under this device's id",
        )
    } else {
        return None;
    };
    Some(Parked { reason: what, remedy: remedy.to_owned() })
}

/// True when a batch begins a new epoch elsewhere than where the watermark stands: what lies between
/// is not proven to be the same on both servers.
pub(crate) fn leaps(at: Position, header: &Header) -> bool {
    header.end.epoch > at.epoch && header.prev != at
}

/// Another server than the watermark's may only follow in an epoch of its own: its publisher has then
/// proven that the log goes on, or copies every table.
pub(crate) fn another_server(row: &Watermark, header: &Header) -> Option<Parked> {
    let is_other = !row.source.is_empty() && row.source != header.source;
    (is_other && header.end.epoch <= row.position.epoch).then(|| Parked {
        reason: format!(
            "another server behind this device id: the watermark belongs to {}, the batch comes from {} and is of the same epoch",
            row.source, header.source
        ),
        remedy: "if two devices share this id, give one of them its own, then release the device; if the device's server was replaced or restored, upgrade its publisher, which then begins an epoch of its own, or drop the device's databases and its watermark at the shard, so that it begins anew".to_owned(),
    })
}

/// The batch's transactions are not those that the watermark was set by.
pub(crate) fn not_this_log(watermark: Position, header: &Header) -> Parked {
    Parked {
        reason: format!(
            "the log does not match the watermark: {watermark} is between no two changes of the batch from {} to {}",
            header.prev, header.end
        ),
        remedy: "the device's binlog was reset or replaced under the same server identity: drop the device's databases and its watermark at the shard, so that it begins anew".to_owned(),
    }
}

/// True when the batch is another run's than the watermark, and a snapshot is under way in either.
pub(crate) fn is_foreign(row: &Watermark, batch: &Batch) -> bool {
    let copies = row.resume.snapshot.is_some()
        || batch.header.resume.snapshot.is_some()
        || !batch.items.is_empty();
    copies && row.run != batch.header.run
}

/// True when a foreign run may take over with this batch.
pub(crate) fn takes_over(row: &Watermark, batch: &Batch) -> bool {
    let header = &batch.header;
    header.prev == row.position
        && !row.refused_runs.contains(&header.run)
        && continues(row.resume.snapshot.as_ref(), batch)
}

/// True when what the batch's run had copied before it is copied here too, for all that shows.
fn continues(cursor: Option<&SnapshotCursor>, batch: &Batch) -> bool {
    for item in &batch.items {
        match item {
            Item::Chunk(chunk) => return chunk_continues(cursor, batch, *chunk),
            Item::Define { database, table, .. } => {
                return cursor.is_none_or(|at| {
                    at.complete || at.table.is_empty() || at.is_live(database, table)
                });
            }
            Item::Statement(_) | Item::Piece(_) | Item::Databases(_) | Item::Tables { .. } => {}
        }
    }
    is_at_most(batch.header.resume.snapshot.as_ref(), cursor)
}

/// A chunk from the beginning of a table may be copied again at any time; any other has to begin where
/// the last one ended.
fn chunk_continues(cursor: Option<&SnapshotCursor>, batch: &Batch, chunk: Chunk) -> bool {
    let Some(block) = batch.tables.get(chunk.table as usize) else { return false };
    let (database, table) = (&block.shape.database, &block.shape.table);
    let begins = !chunk.append && !chunk.lower;
    match cursor {
        None => begins,
        Some(at) if begins => at.is_live(database, table),
        Some(at) => {
            (&at.database, &at.table) == (database, table)
                && chunk.lower_index().is_some_and(|index| {
                    let lower = block.identities.iter().map(|column| column.get(index).copied());
                    is_key(&at.key, lower, batch)
                })
        }
    }
}

fn is_key(
    encoded: &[u8],
    lower: impl ExactSizeIterator<Item = Option<Cell>>,
    batch: &Batch,
) -> bool {
    let Ok(key) = cells(encoded) else { return false };
    key.len() == lower.len()
        && key.into_iter().zip(lower).all(|(ours, theirs)| match (ours, theirs) {
            (Cell::Bytes { start, len }, Some(theirs @ Cell::Bytes { .. })) => {
                let (start, len) = (start as usize, len as usize);
                encoded.get(start..start + len) == Some(batch.bytes(theirs))
            }
            (ours, theirs) => Some(ours) == theirs,
        })
}

/// True when every table that is live at `a` is so at `b`, with at least the same rows copied. Keys are
/// only known to be equal or not: their order is the server's.
fn is_at_most(a: Option<&SnapshotCursor>, b: Option<&SnapshotCursor>) -> bool {
    match (a, b) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(a), Some(b)) if (&a.database, &a.table) == (&b.database, &b.table) => {
            a == b || b.complete || (a.key.is_empty() && !a.complete)
        }
        (Some(a), Some(b)) => b.is_live(&a.database, &a.table),
    }
}
