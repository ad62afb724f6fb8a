//! Changes that rows of other tables follow by a foreign key, written. Pure.
//!
//! Each is a statement of its own, in the device's order and with `foreign_key_checks=1`: what InnoDB does for
//! it at the device it does here. In one statement of many rows a row could go before another that still refers
//! to it.

use crate::net::{Acting, Fold, Key, RowRef, Side, TableWork};
use crate::plan::{PlanError, keyed};
use crate::render::{Writer, as_number, is_wide_set};
use crate::script::{Expect, Script};
use tributary_schema::quote;

/// Appends the statements for the changes.
pub(crate) fn plan<'a>(
    changes: &[Acting<'a>],
    work: &TableWork<'a>,
    writer: &Writer<'_>,
    script: &mut Script,
) -> Result<(), PlanError> {
    let owner = writer.context.owner;
    script.push(owner, Expect::Success, b"SET SESSION foreign_key_checks=1");
    for change in changes {
        match (&change.new, &change.old) {
            (None, Key::Identity(old)) if !work.shape.has_key() => {
                writer.delete_one(old, script)?;
            }
            (Some(new), Key::Identity(old)) if !work.shape.has_key() => {
                writer.update_one(old, new, script)?;
            }
            (None, old) => writer.delete_key(old, script)?,
            (Some(new), old) => writer.update_key(old, new, script)?,
        }
    }
    script.push(owner, Expect::Success, b"SET SESSION foreign_key_checks=0");
    if !(work.displaces && work.shape.has_key()) {
        return Ok(());
    }
    // While the table is copied, a row need not have been there.
    let mut fold = Fold::default();
    for change in changes {
        fold.add_acting(work.identity, change);
    }
    keyed(fold.effects(), true, writer, script)
}

impl Writer<'_> {
    /// `DELETE` of the row with a key.
    fn delete_key(&self, old: &Key<'_>, script: &mut Script) -> Result<(), PlanError> {
        // A cascade may have to look at any number of rows.
        script.add(self.context.owner, Expect::Slowly, |sql| {
            let start = sql.len();
            sql.extend_from_slice(format!("DELETE FROM {}", self.table).as_bytes());
            self.where_key(sql, old)?;
            self.check_length(sql.len() - start)
        })
    }

    /// `UPDATE` of the row with a key.
    fn update_key(
        &self,
        old: &Key<'_>,
        new: &RowRef<'_>,
        script: &mut Script,
    ) -> Result<(), PlanError> {
        let update = |script: &mut Script| {
            script.add(self.context.owner, Expect::Slowly, |sql| {
                let start = sql.len();
                sql.extend_from_slice(format!("UPDATE {} SET ", self.table).as_bytes());
                self.assignments(sql, new)?;
                self.where_key(sql, old)?;
                self.check_length(sql.len() - start)
            })
        };
        self.assembled(&[(*new, Side::Image)], script, |script| match self.error_values(new) {
            0 => update(script),
            _ => self.leniently(script, update),
        })
    }

    fn where_key(&self, sql: &mut Vec<u8>, key: &Key<'_>) -> Result<(), PlanError> {
        for (nth, &column) in self.work.identity.iter().enumerate() {
            let shape = self.shape(column.into());
            let is_wide = is_wide_set(shape.kind, key.cell(nth, column));
            let name = if is_wide { as_number(&shape.name) } else { quote(&shape.name) };
            let glue = if nth == 0 { " WHERE " } else { " AND " };
            sql.extend_from_slice(format!("{glue}{name}=").as_bytes());
            self.key_value(sql, key, nth)?;
        }
        Ok(())
    }
}
