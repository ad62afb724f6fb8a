//! Values that arrived in pieces, put together by the shard: a worker never holds one whole.

use crate::net::{RowRef, Side};
use crate::plan::PlanError;
use crate::script::{Expect, Script};
use tributary_wire::{Cell, Position};

/// Pieces of one value: more would not be 1 GiB, the most that a server takes.
const PIECES_MAX: u32 = 1 << 14;
/// Pieces that one statement reads: each is a subquery with a table of its own.
const PIECES_AT_ONCE: u64 = 64;

const MISSING: &str = "pieces of a value that is too large for a message are missing at the shard";
const TOO_LONG: &str = "a value is longer than max_allowed_packet: SET GLOBAL max_allowed_packet=1073741824 at the shard, and in my.cnf";

/// Where a value is put together: a variable of the session, which keeps bytes as they are.
pub(crate) fn variable(side: Side, column: usize) -> String {
    let side = match side {
        Side::Image => "new",
        Side::Identity => "old",
    };
    format!("@tributary_{side}_{column}")
}

/// True when a value of these columns of a row arrived in pieces.
pub(crate) fn is_staged(row: &RowRef<'_>, side: Side, columns: &[usize]) -> bool {
    columns.iter().any(|&column| matches!(row.cell(side, column), Some(Cell::Staged { .. })))
}

/// Puts the staged values of a row together out of the table `pieces`.
pub(crate) fn assemble(
    row: &RowRef<'_>,
    side: Side,
    columns: &[usize],
    pieces: &str,
    owner: usize,
    script: &mut Script,
) -> Result<(), PlanError> {
    let pieces = &format!("{pieces} WHERE device_id='{}'", row.batch.header.device);
    let missing = |count| PlanError::Pieces {
        table: format!("{}.{}", row.block.shape.database, row.block.shape.table),
        count,
    };
    for &column in columns {
        let Some(Cell::Staged { part, count }) = row.cell(side, column) else { continue };
        let place = row.place(side).filter(|_| count > 0 && count <= PIECES_MAX);
        let place = place.ok_or_else(|| missing(count))?;
        let end = part.checked_add(u64::from(count)).ok_or_else(|| missing(count))?;
        one(&variable(side, column), place, part..end, pieces, owner, script);
    }
    Ok(())
}

/// Frees what [`assemble`] made.
pub(crate) fn forget(
    row: &RowRef<'_>,
    side: Side,
    columns: &[usize],
    owner: usize,
    script: &mut Script,
) {
    for &column in columns {
        if let Some(Cell::Staged { .. }) = row.cell(side, column) {
            let sql = format!("SET {}=NULL", variable(side, column));
            script.push(owner, Expect::Success, sql.as_bytes());
        }
    }
}

/// `CONCAT` gives NULL when a piece is missing or the value is too long, and never a part of it; which
/// of the two it was is asked apart.
fn one(
    variable: &str,
    Position { epoch, file, offset, .. }: Position,
    parts: std::ops::Range<u64>,
    pieces: &str,
    owner: usize,
    script: &mut Script,
) {
    let place = format!("{pieces} AND epoch={epoch} AND file={file} AND `offset`={offset}");
    let (first, last) = (parts.start, parts.end.saturating_sub(1));
    let count = parts.end - parts.start;
    let whole = format!("SELECT COUNT(*)={count} FROM {place} AND part BETWEEN {first} AND {last}");
    script.push(owner, Expect::Holds(MISSING), whole.as_bytes());
    let mut next = first;
    while next < parts.end {
        let upto = parts.end.min(next.saturating_add(PIECES_AT_ONCE));
        let read = |part: u64| format!("(SELECT data FROM {place} AND part={part})");
        let mut arguments: Vec<String> = (next..upto).map(read).collect();
        if next > first {
            arguments.insert(0, variable.to_owned());
        }
        let sql = format!("SET {variable}=CONCAT({})", arguments.join(","));
        script.push(owner, Expect::Success, sql.as_bytes());
        next = upto;
    }
    let sql = format!("SELECT {variable} IS NOT NULL");
    script.push(owner, Expect::Holds(TOO_LONG), sql.as_bytes());
}
