//! A chunk of a snapshot, written. Pure.
//!
//! A chunk says which rows lie in a range of keys at its place in the log. What the target has in that
//! range goes, but for the keys that are kept, and the chunk's rows come.
//!
//! **Unique values.** With a UNIQUE index besides the primary key, a row *r* of the chunk may hold a
//! value that a row *s* outside of the range holds at the target. Which of them is right? *r* is: the
//! chunk is true at its place. The values are unique at the device, so at this place *s* is not there
//! as it stands here. Rows that were copied, rows that the log changed since the table became live, and
//! the kept ones are true at this place, so *s* is none of them: it is left from before the snapshot,
//! its range is still to come, and that will bring it if the device still has it. So *s* may go, and
//! nothing else would let *r* come: REPLACE. `ON DUPLICATE KEY UPDATE` would change *s* instead.
//!
//! The same holds for a change that the log carries to a table that is being copied
//! ([`crate::net::TableWork::displaces`]): its image is true at the end of the pass. Once a table is
//! copied nothing old is left, and a value that is there twice is an error again.

use crate::net::ChunkRows;
use crate::plan::{PlanError, store};
use crate::render::{Verb, Writer};
use crate::script::Script;

/// Appends the statements for a chunk.
pub(crate) fn chunk(
    rows: &ChunkRows<'_>,
    writer: &Writer<'_>,
    script: &mut Script,
) -> Result<(), PlanError> {
    if !rows.chunk.append {
        writer.delete_range(rows, script)?;
    }
    let has_key = rows.block.shape.has_key();
    let verb = if has_key && writer.unique_secondary() { Verb::Replace } else { Verb::Insert };
    store(verb, rows.images(), writer, script)
}
