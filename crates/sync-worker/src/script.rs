//! SQL statements on their way to a shard, in order, packed into as few packets as they fit.

use std::ops::Range;

/// What a statement must have done, or the transaction is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// To have succeeded.
    Success,
    /// To have matched exactly one row.
    OneRow,
    /// To have changed exactly so many rows.
    Rows(u64),
    /// To have raised no more than so many warnings.
    WarningsAtMost(u16),
    /// To have succeeded, after however many rows it had to look at.
    Slowly,
    /// To have returned one row that says 1; otherwise this is what is wrong.
    Holds(&'static str),
}

/// Statements of one transaction.
#[derive(Debug, Default)]
pub struct Script {
    sql: Vec<u8>,
    statements: Vec<Statement>,
}

#[derive(Debug, Clone, Copy)]
struct Statement {
    end: usize,
    owner: usize,
    expect: Expect,
}

/// Statements that go out together.
#[derive(Debug, Clone)]
pub struct Packet<'a> {
    /// Their text, separated by semicolons.
    pub sql: &'a [u8],
    /// Their places in the script.
    pub statements: Range<usize>,
}

// === impl Script ===

impl Script {
    /// Adds the statement that `write` appends. `owner` says whose it is when it fails.
    pub fn add<E>(
        &mut self,
        owner: usize,
        expect: Expect,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.sql.len();
        if let Err(error) = write(&mut self.sql) {
            self.sql.truncate(start);
            return Err(error);
        }
        self.close(owner, expect);
        Ok(())
    }

    /// Adds a statement as it is.
    pub fn push(&mut self, owner: usize, expect: Expect, sql: &[u8]) {
        self.sql.extend_from_slice(sql);
        self.close(owner, expect);
    }

    /// Whose the statement is.
    pub fn owner(&self, statement: usize) -> Option<usize> {
        self.statements.get(statement).map(|statement| statement.owner)
    }

    /// The first `database.table` that the statement names.
    pub fn table(&self, statement: usize) -> Option<String> {
        let start = statement.checked_sub(1).map_or(0, |before| self.statements[before].end);
        let text = &self.sql[start..self.statements.get(statement)?.end];
        let first = text.iter().position(|byte| *byte == b'`')?;
        let (database, rest) = name(&text[first..])?;
        let (table, _) = name(rest.strip_prefix(b".")?)?;
        Some(format!("{database}.{table}"))
    }

    /// What the statement must do.
    pub fn expect(&self, statement: usize) -> Expect {
        self.statements.get(statement).map_or(Expect::Success, |statement| statement.expect)
    }

    /// True when every statement only has to succeed, so that a COMMIT may follow in the same packet.
    pub fn is_unconditional(&self) -> bool {
        let is_unconditional = |expect| matches!(expect, Expect::Success | Expect::Slowly);
        self.statements.iter().all(|statement| is_unconditional(statement.expect))
    }

    /// True without a statement.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// Length of all statements in bytes.
    pub fn bytes(&self) -> usize {
        self.sql.len()
    }

    /// Drops what was added after the script had `statements` statements.
    pub fn truncate(&mut self, statements: usize) {
        self.statements.truncate(statements);
        self.sql.truncate(self.statements.last().map_or(0, |last| last.end));
    }

    /// How many statements it has.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// The statements in packets of at most `bytes_max`; a statement that is longer has its own.
    pub fn packets(&self, bytes_max: usize) -> impl Iterator<Item = Packet<'_>> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let first = next;
            let start = if first == 0 { 0 } else { self.statements[first - 1].end };
            let fits = |statement: &Statement| statement.end - start <= bytes_max;
            let count = self.statements[first..].iter().take_while(|s| fits(s)).count().max(1);
            let last = self.statements.get(first..first + count)?.last()?;
            next = first + count;
            // Without the semicolon at the end, which would be an empty statement.
            Some(Packet { sql: &self.sql[start..last.end - 1], statements: first..next })
        })
    }

    fn close(&mut self, owner: usize, expect: Expect) {
        self.sql.push(b';');
        self.statements.push(Statement { end: self.sql.len(), owner, expect });
    }
}

/// A name in backticks, and what follows it.
fn name(text: &[u8]) -> Option<(String, &[u8])> {
    let (mut name, mut rest) = (Vec::new(), text.strip_prefix(b"`")?);
    loop {
        match rest {
            [b'`', b'`', tail @ ..] => {
                name.push(b'`');
                rest = tail;
            }
            [b'`', tail @ ..] => return Some((String::from_utf8_lossy(&name).into_owned(), tail)),
            [byte, tail @ ..] => {
                name.push(*byte);
                rest = tail;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(statements: &[&str]) -> Script {
        let mut script = Script::default();
        for (owner, sql) in statements.iter().enumerate() {
            script.push(owner, Expect::Success, sql.as_bytes());
        }
        script
    }

    fn packets(script: &Script, bytes_max: usize) -> Vec<String> {
        script.packets(bytes_max).map(|p| String::from_utf8_lossy(p.sql).into_owned()).collect()
    }

    #[test]
    fn statements_share_a_packet_up_to_its_size() {
        let script = script(&["DO 1", "DO 2", "DO 333333333", "DO 4"]);
        assert_eq!(packets(&script, 10), ["DO 1;DO 2", "DO 333333333", "DO 4"]);
        assert_eq!(packets(&script, 1000), ["DO 1;DO 2;DO 333333333;DO 4"]);
        assert_eq!(script.owner(2), Some(2));
        assert!(packets(&Script::default(), 10).is_empty());
    }

    #[test]
    fn a_statement_tells_its_table() {
        let script = script(&["DO 1", "DELETE FROM `a`.`b``.c` WHERE `d`=1", "SET `x"]);
        let tables: Vec<_> = (0..4).map(|at| script.table(at)).collect();
        assert_eq!(tables, [None, Some("a.b`.c".to_owned()), None, None]);
    }

    #[test]
    fn a_statement_that_cannot_be_written_leaves_nothing_behind() {
        let mut script = script(&["DO 1"]);
        let failed = script.add(1, Expect::OneRow, |sql| {
            sql.extend_from_slice(b"DO ");
            Err("no value")
        });
        assert_eq!(failed, Err("no value"));
        assert_eq!(packets(&script, 1000), ["DO 1"]);
        script.push(1, Expect::OneRow, b"DO 2");
        assert!(!script.is_unconditional());
        script.truncate(1);
        assert_eq!(
            (packets(&script, 1000), script.is_unconditional()),
            (vec!["DO 1".into()], true)
        );
    }
}
