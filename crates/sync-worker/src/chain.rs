//! The one rule of the whole system: a batch is applied only where it chains to the watermark.
//!
//! This is the deduplication, the ordering check, the fence against a stale worker and the loss
//! detector. It is a pure function: what it is told about the watermark must be true for as long as
//! its answer is used, which the lock on the watermark's row sees to.

use tributary_wire::{Header, Position, Run, Transaction};

/// What is to be done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All of it lies behind the watermark: acknowledge and drop.
    Duplicate,
    /// It begins beyond the watermark: apply nothing, ask for a replay.
    Gap,
    /// It chains, perhaps with a part that is applied already: apply from the cut on.
    Apply(Cut),
    /// The watermark lies inside one of its transactions, but not between two changes of it: this is
    /// another log than the one the watermark was set by.
    Mismatch,
}

/// The first change of a batch that lies after the watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Index into the batch's transactions; their number when nothing is left but a mark.
    pub transaction: usize,
    /// Changes of that transaction's piece, or items of a snapshot, that are applied already.
    pub skip: u64,
}

/// Consecutive changes of one sort, with the positions around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Where the log stands before them.
    pub before: Position,
    /// Where it stands after them.
    pub after: Position,
    /// The changes.
    pub run: Run,
}

/// One item of a snapshot, with the positions around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemStep {
    /// Where the log stands before it.
    pub before: Position,
    /// Where it stands after it.
    pub after: Position,
    /// Index into the batch's items.
    pub index: usize,
}

/// Judges a batch, of so many `items`, against the watermark of its device; `None` is a device that the target has never
/// seen, whose history has to begin at its beginning.
pub fn judge(
    watermark: Option<Position>,
    header: &Header,
    transactions: &[Transaction],
    items: usize,
) -> Verdict {
    let beginning = Position::beginning(1);
    let at = match watermark {
        Some(at) => at,
        None if header.prev == beginning => beginning,
        None => return Verdict::Gap,
    };
    if header.end <= at {
        return Verdict::Duplicate;
    }
    if header.prev > at {
        return Verdict::Gap;
    }
    if items > 0 {
        return Verdict::Apply(cut_items(at, header, items));
    }
    cut(at, transactions).map_or(Verdict::Mismatch, Verdict::Apply)
}

/// The items of a snapshot from `cut` on. They lie at the boundary where their batch ends, and are
/// counted back from there.
pub fn item_steps(header: &Header, items: usize, cut: Cut) -> impl Iterator<Item = ItemStep> {
    let end = header.end;
    let first = end.items().saturating_sub(items as u64);
    let place = move |index: usize| end.after_items(first.saturating_add(index as u64));
    let skip = usize::try_from(cut.skip).unwrap_or(usize::MAX);
    (skip..items).map(move |index| ItemStep {
        before: place(index),
        after: place(index + 1),
        index,
    })
}

/// The changes from `cut` on.
pub fn steps(transactions: &[Transaction], cut: Cut) -> impl Iterator<Item = Step> + '_ {
    let skipped = move |index| if index == cut.transaction { cut.skip } else { 0 };
    let from_cut = transactions.iter().enumerate().skip(cut.transaction);
    from_cut.flat_map(move |(index, transaction)| steps_of(transaction, skipped(index)))
}

/// Finds the watermark in a batch that covers it; `None` when it is at no place that this log has.
fn cut(at: Position, transactions: &[Transaction]) -> Option<Cut> {
    let after = |transaction: &&Transaction| transaction.end > at;
    let index = transactions.iter().take_while(|transaction| !after(transaction)).count();
    let Some(transaction) = transactions.get(index).filter(|t| t.start < at) else {
        return Some(Cut { transaction: index, skip: 0 });
    };
    let same_transaction = at.floor() == transaction.start.floor();
    let skip = at.changes().checked_sub(transaction.start.changes())?;
    (same_transaction && skip <= transaction.changes()).then_some(Cut { transaction: index, skip })
}

/// Where the watermark stands between the items of a batch that ends beyond it: behind some of them
/// when it is at their boundary, before all of them when it is anywhere else.
fn cut_items(at: Position, header: &Header, items: usize) -> Cut {
    let first = header.end.items().saturating_sub(items as u64);
    let is_there = at.floor() == header.end.floor();
    let skip = if is_there { at.items().saturating_sub(first) } else { 0 };
    Cut { transaction: 0, skip }
}

fn steps_of(transaction: &Transaction, mut skip: u64) -> impl Iterator<Item = Step> + '_ {
    let changes = transaction.changes();
    let mut done = 0;
    let position = move |done: u64| {
        if done == changes { transaction.end } else { transaction.start.advance(done) }
    };
    transaction.runs.iter().filter_map(move |run| {
        let skipped = skip.min(run.changes());
        skip -= skipped;
        let before = done + skipped;
        done += run.changes();
        let run = run.skip(skipped)?;
        Some(Step { before: position(before), after: position(done), run })
    })
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
