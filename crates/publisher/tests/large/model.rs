//! What a reader of the batches would have: tables in memory, values put together from their pieces.

use mysql_async::prelude::Queryable;
use std::collections::BTreeMap;
use tributary_testkit::MySqlServer;
use tributary_wire::{Batch, Cell, Op, Position, Run, TableBlock, Transaction};

pub(crate) type Row = Vec<Option<Vec<u8>>>;

/// Every change of the batches by the position behind it, as text without its values' bytes.
pub(crate) type Changes = BTreeMap<(u32, u64, u64), String>;

#[derive(Default, Clone)]
pub(crate) struct Model {
    /// Rows by table; equal rows as often as they are there.
    pub(crate) tables: BTreeMap<String, Vec<Row>>,
    pub(crate) changes: Changes,
    /// The largest value that went ahead, in bytes.
    pub(crate) largest: usize,
    pub(crate) pieces_max: usize,
    pieces: BTreeMap<(u32, u64, u64), Vec<u8>>,
}

impl Model {
    pub(crate) fn of(batches: &[Batch]) -> Self {
        let mut model = Self::default();
        model.take(batches);
        model
    }

    pub(crate) fn take(&mut self, batches: &[Batch]) {
        for batch in batches {
            for transaction in &batch.transactions {
                self.transaction(batch, transaction);
            }
        }
    }

    fn transaction(&mut self, batch: &Batch, transaction: &Transaction) {
        let mut at = transaction.start;
        for run in &transaction.runs {
            match *run {
                Run::Piece(index) => {
                    at = at.advance(1);
                    let bytes = batch.bytes(batch.pieces[index as usize]).to_vec();
                    self.pieces_max = self.pieces_max.max(bytes.len());
                    self.note(at, &format!("piece {}", crc(&bytes)));
                    self.pieces.insert(key(at), bytes);
                }
                Run::Rows { table, op, image, identity, count, .. } => {
                    for nth in 0..count {
                        at = at.advance(1);
                        let block = &batch.tables[table as usize];
                        self.row(batch, block, op, (image + nth, identity + nth), at);
                    }
                }
                Run::Statement(_) | Run::Skipped(_) => at = at.advance(run.changes()),
            }
        }
        if transaction.end.is_boundary() {
            self.pieces.clear();
        }
    }

    fn row(&mut self, batch: &Batch, block: &TableBlock, op: Op, rows: (u32, u32), at: Position) {
        let (image, identity) = rows;
        let new = op.has_image().then(|| self.values(batch, &block.images, image, at));
        let old = op.has_identity().then(|| self.values(batch, &block.identities, identity, at));
        let sums = |row: &Option<Row>| {
            row.as_ref().map(|row| row.iter().map(|v| v.as_deref().map(crc)).collect::<Vec<_>>())
        };
        self.note(at, &format!("{op:?} {:?} {:?}", sums(&old), sums(&new)));
        let key = &block.shape.primary_key;
        let identity_of = |row: &Row| -> Row {
            if key.is_empty() {
                return row.clone();
            }
            key.iter().map(|&column| row[usize::from(column)].clone()).collect()
        };
        let name = format!("{}.{}", block.shape.database, block.shape.table);
        let table = self.tables.entry(name).or_default();
        let gone = old.or_else(|| new.as_ref().filter(|_| op == Op::Update).map(identity_of));
        if let Some(gone) = gone {
            let place = table.iter().position(|row| identity_of(row) == gone);
            table.remove(place.unwrap_or_else(|| panic!("{at}: no such row")));
        }
        table.extend(new);
    }

    fn note(&mut self, at: Position, change: &str) {
        let known = self.changes.entry(key(at)).or_insert_with(|| change.to_owned());
        assert_eq!(known, change, "{at} means two things");
    }

    fn values(&mut self, batch: &Batch, columns: &[Vec<Cell>], nth: u32, at: Position) -> Row {
        let value = |cell| match cell {
            Cell::Null => None,
            Cell::Int(value) => Some(value.to_string().into_bytes()),
            Cell::Bytes { .. } => Some(batch.bytes(cell).to_vec()),
            Cell::Staged { part, count } => {
                let mut whole = Vec::new();
                for n in 0..u64::from(count) {
                    let at = Position { part: part + n, ..at };
                    whole.extend_from_slice(&self.pieces[&key(at)]);
                }
                self.largest = self.largest.max(whole.len());
                Some(whole)
            }
            other => panic!("{other:?} is not in these tests"),
        };
        columns.iter().map(|column| column[nth as usize]).map(value).collect()
    }

    /// Compares with what the server holds.
    pub(crate) async fn assert_is(&self, server: &MySqlServer, tables: &[&str]) {
        let opts = mysql_async::Opts::from_url(&server.admin_url()).expect("a url");
        let opts = mysql_async::OptsBuilder::from_opts(opts).max_allowed_packet(Some(1 << 30));
        let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
        for table in tables {
            let rows: Vec<mysql_async::Row> =
                conn.query(format!("SELECT * FROM {table}")).await.expect("selects");
            let mut theirs: Vec<Row> = rows
                .into_iter()
                .map(|row| row.unwrap().into_iter().map(mysql_async::from_value).collect())
                .collect();
            let mut ours = self.tables.get(*table).cloned().unwrap_or_default();
            theirs.sort();
            ours.sort();
            assert_eq!(ours.len(), theirs.len(), "{table}");
            assert!(ours == theirs, "{table} differs");
        }
    }
}

fn key(at: Position) -> (u32, u64, u64) {
    (at.file, at.offset, at.part)
}

fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
