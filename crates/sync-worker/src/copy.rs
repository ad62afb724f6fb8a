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

use crate::net::{ChunkRows, Key};
use crate::plan::{PlanError, store};
use crate::render::{Verb, Writer, close};
use crate::script::{Expect, Script};
use tributary_schema::quote;

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

impl Writer<'_> {
    /// `DELETE` of all rows with `lower < key <= upper`, but for those that are kept.
    fn delete_range(&self, rows: &ChunkRows<'_>, script: &mut Script) -> Result<(), PlanError> {
        script.add(self.context.owner, Expect::Slowly, |sql| {
            let start = sql.len();
            sql.extend_from_slice(format!("DELETE FROM {}", self.table).as_bytes());
            let mut glue: &[u8] = b" WHERE ";
            if self.context.device_column.is_some() {
                self.where_device(sql, &rows.batch.header.device);
                sql.truncate(sql.len() - b" AND ".len());
                glue = b" AND ";
            }
            for (bound, strictly, last) in [(rows.lower(), ">", ">"), (rows.upper(), "<", "<=")] {
                let Some(bound) = bound else { continue };
                sql.extend_from_slice(glue);
                self.beyond(sql, &bound, strictly, last)?;
                glue = b" AND ";
            }
            if rows.kept().len() > 0 {
                sql.extend_from_slice(glue);
                sql.extend_from_slice(format!("({}) NOT IN (", self.key_names()).as_bytes());
                for key in rows.kept() {
                    self.key(sql, &key)?;
                    sql.push(b',');
                }
                close(sql);
            }
            self.check_length(sql.len() - start)
        })
    }

    /// `a>=1 AND (a>1 OR (a=1 AND (b>2)))`: beyond a key in key order. The first condition is there for the
    /// optimizers, which do not see the range of an index in the rest.
    fn beyond(
        &self,
        sql: &mut Vec<u8>,
        bound: &Key<'_>,
        strictly: &str,
        last: &str,
    ) -> Result<(), PlanError> {
        let compare = |sql: &mut Vec<u8>, index: usize, operator: &str| {
            let column = self.work.identity[index];
            let name = quote(&self.shape(column.into()).name);
            sql.extend_from_slice(format!("{name}{operator}").as_bytes());
            self.key_value(sql, bound, index)
        };
        let columns = self.work.identity.len();
        if columns > 1 {
            compare(sql, 0, &format!("{strictly}="))?;
            sql.extend_from_slice(b" AND ");
        }
        for index in 0..columns {
            sql.push(b'(');
            compare(sql, index, if index + 1 == columns { last } else { strictly })?;
            if index + 1 < columns {
                sql.extend_from_slice(b" OR (");
                compare(sql, index, "=")?;
                sql.extend_from_slice(b" AND ");
            }
        }
        sql.extend(std::iter::repeat_n(b')', 2 * columns - 1));
        Ok(())
    }
}
