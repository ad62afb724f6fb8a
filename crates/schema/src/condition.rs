//! The changes of an ALTER TABLE one by one: which are made only under a condition, as MariaDB's `IF NOT EXISTS`
//! has it, and which say nothing of the table.

use crate::cursor::Cursor;
use crate::finding::{Edit, EditKind, Finding};
use crate::statement::{Condition, Part};
use crate::token::TokenKind;
use std::ops::Range;

/// A change between two commas.
#[derive(Debug, Clone)]
pub(crate) struct Clause {
    /// Where it stands, without commas.
    span: Range<usize>,
    /// The comma before it.
    comma: Option<Range<usize>>,
    /// Its condition's place in [`crate::Ddl::conditions`], and the words of it.
    condition: Option<(usize, Range<usize>)>,
    /// It says only how the work is done: ALGORITHM, LOCK.
    is_manner: bool,
}

/// Finds the changes from `cursor` on, which stands behind the table's name.
pub(crate) fn clauses(mut cursor: Cursor<'_>, finding: &mut Finding) {
    let (mut depth, mut comma) = (0_usize, None);
    while let Some(first) = cursor.peek() {
        let mut clause = Clause {
            span: first.span.start..first.span.end,
            comma: comma.take(),
            condition: None,
            is_manner: false,
        };
        if let Some(end) = manner(cursor) {
            clause.is_manner = true;
            clause.span.end = end;
        } else if let Some((words, condition)) = condition(cursor) {
            clause.condition = Some((finding.ddl.conditions.len(), words));
            finding.ddl.conditions.push(condition);
        }
        while let Some(token) = cursor.next() {
            match token.kind {
                TokenKind::Symbol(b'(') => depth += 1,
                TokenKind::Symbol(b')') => depth = depth.saturating_sub(1),
                TokenKind::Symbol(b',') if depth == 0 => {
                    comma = Some(token.span);
                    break;
                }
                TokenKind::Symbol(b';') if depth == 0 => break,
                _ => {}
            }
            if !clause.is_manner {
                clause.span.end = token.span.end;
            }
        }
        finding.clauses.push(clause);
    }
}

/// Where `ALGORITHM = INPLACE` or `LOCK = NONE` ends, if it stands here.
pub(crate) fn manner(mut cursor: Cursor<'_>) -> Option<usize> {
    let values: &[&str] = match cursor.eat_any(&["ALGORITHM", "LOCK"])? {
        "LOCK" => &["DEFAULT", "NONE", "SHARED", "EXCLUSIVE"],
        _ => &["DEFAULT", "INPLACE", "COPY", "INSTANT", "NOCOPY"],
    };
    cursor.eat_symbol(b'=');
    values.iter().find_map(|value| cursor.eat(value)).map(|token| token.span.end)
}

/// The condition of a change, and the words that make it one.
fn condition(mut cursor: Cursor<'_>) -> Option<(Range<usize>, Condition)> {
    const WORDS: [&str; 16] = [
        "ADD",
        "DROP",
        "MODIFY",
        "CHANGE",
        "RENAME",
        "ALTER",
        "COLUMN",
        "INDEX",
        "KEY",
        "UNIQUE",
        "FULLTEXT",
        "SPATIAL",
        "CONSTRAINT",
        "FOREIGN",
        "PARTITION",
        "VECTOR",
    ];
    let mut what = Part::Column;
    while let Some(word) = cursor.eat_any(&WORDS) {
        what = match (word, what) {
            ("CONSTRAINT" | "FOREIGN", _) | (_, Part::Constraint) => Part::Constraint,
            ("INDEX" | "KEY" | "UNIQUE" | "FULLTEXT" | "SPATIAL", _) => Part::Index,
            ("PARTITION", _) => Part::Partition,
            (_, what) => what,
        };
    }
    let words = cursor.peek()?.span.start;
    let if_exists = eat_condition(&mut cursor)?;
    let next = cursor.peek()?.span.start;
    if what == Part::Partition {
        // `ADD PARTITION IF NOT EXISTS (PARTITION p …)`.
        cursor.eat_symbol(b'(');
        cursor.eat("PARTITION");
    }
    let name = cursor.identifier()?.text;
    Some((words..next, Condition { what, name, if_exists }))
}

/// Takes `IF EXISTS`, which is true, or `IF NOT EXISTS`, which is false.
fn eat_condition(cursor: &mut Cursor<'_>) -> Option<bool> {
    if cursor.eat_all(&["IF", "EXISTS"]) {
        Some(true)
    } else {
        cursor.eat_all(&["IF", "NOT", "EXISTS"]).then_some(false)
    }
}

// === impl Finding ===

impl Finding {
    /// What is left out of an ALTER TABLE: the changes that say nothing, and for a server without conditions
    /// those that are not `made`, and the words of the others.
    pub(crate) fn left_out(&self, made: Option<&dyn Fn(&Condition) -> bool>) -> Vec<Edit> {
        let remove = |span: Range<usize>| Edit { span, what: EditKind::Remove };
        let (mut edits, mut is_first) = (Vec::new(), true);
        for clause in &self.clauses {
            let condition = made.zip(clause.condition.as_ref());
            let is_made = condition
                .is_none_or(|(made, (at, _))| self.ddl.conditions.get(*at).is_none_or(made));
            if clause.is_manner || !is_made {
                edits.extend(clause.comma.clone().map(remove));
                edits.push(remove(clause.span.clone()));
                continue;
            }
            // The comma goes with what stood before it, where that was left out and was the first.
            if std::mem::take(&mut is_first) {
                edits.extend(clause.comma.clone().map(remove));
            }
            edits.extend(condition.map(|(_, (_, words))| remove(words.clone())));
        }
        edits
    }
}
