//! A batch as its reader sees it.

use crate::snapshot::{Item, SnapshotCursor};
use crate::{Anchor, Cell, DeviceId, Position, TableShape};
use serde::{Deserialize, Serialize};

/// One NATS message: a contiguous slice of one device's change log, decoded.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Whose, from where to where.
    pub header: Header,
    /// Transactions in source order. Only the first may continue one from the batch before, and only
    /// the last may be continued by the next.
    pub transactions: Vec<Transaction>,
    /// The tables that the transactions' rows belong to.
    pub tables: Vec<TableBlock>,
    /// DDL and other statements that the transactions, or the items, hold.
    pub statements: Vec<Statement>,
    /// Steps of a snapshot, all at the boundary where the batch ends. A batch with items has no
    /// transactions.
    pub items: Vec<Item>,
    /// Pieces of values that are too large for a message: [`Cell::Bytes`], all of them.
    pub pieces: Vec<Cell>,
    pub(crate) body: Vec<u8>,
}

/// What a batch says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The device whose log this is.
    pub device: DeviceId,
    /// Random per attempt of a publisher to read the log: a start, a rewind, a source that is back. Tells two live publishers of one id apart.
    pub run: u64,
    /// Identity of the MySQL server that wrote the log: its `server_uuid`, or `mariadb-<server_id>`.
    pub source: String,
    /// Version of that server, as it says it: `9.7.0`, `10.11.6-MariaDB-log`.
    pub server: String,
    /// The end of the batch before this one.
    pub prev: Position,
    /// Where this batch ends.
    pub end: Position,
    /// Where a reader of the binlog has to restart to go on from `end`.
    pub resume: Resume,
    /// Commit time of the first transaction, microseconds since the Unix epoch; 0 in a mark.
    pub commit_time_first_us: i64,
    /// Commit time of the last transaction, microseconds since the Unix epoch; 0 in a mark.
    pub commit_time_last_us: i64,
}

/// A transaction boundary at or before a position: the newest, or an older one while an XA transaction
/// behind it is prepared and not decided.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resume {
    /// The boundary; its `part` is 0.
    pub position: Position,
    /// What lies before the boundary, where the server has GTIDs: the set of executed transactions on
    /// MySQL (`uuid:1-77,uuid:1-5`), the position on MariaDB (`0-1-77,5-2-9`).
    pub gtid: Option<String>,
    /// How far the device's snapshot has come; `None` when every table is live.
    #[serde(default)]
    pub snapshot: Option<SnapshotCursor>,
    /// What stands in the log before the boundary; `None` where that was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Anchor>,
}

/// One transaction of the source, or the piece of it that this batch holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Where its first change in this batch begins: inside the transaction (`part > 0`) when the
    /// batch before holds its beginning.
    pub start: Position,
    /// Where it ends, a boundary; or, for a transaction that goes on in the next batch, the position
    /// inside it at which the batch ends.
    pub end: Position,
    /// When the source committed it, microseconds since the Unix epoch.
    pub commit_time_us: i64,
    /// Its changes, in source order.
    pub runs: Vec<Run>,
}

/// Consecutive changes of one sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// `count` changes of one kind to one table.
    Rows {
        /// Index into [`Batch::tables`].
        table: u32,
        /// What was done.
        op: Op,
        /// Index of the first row image, for all but [`Op::Delete`].
        image: u32,
        /// Index of the first identity, for [`Op::Rekey`] and [`Op::Delete`].
        identity: u32,
        /// How many.
        count: u32,
        /// Foreign keys act on these changes at the device, and what they do is in no log: InnoDB does it
        /// below the binlog. Never of [`Op::Insert`].
        acts: bool,
    },
    /// One statement: index into [`Batch::statements`].
    Statement(u32),
    /// So many changes that a filter kept on the device.
    Skipped(u32),
    /// A piece of a value that is too large for a message: index into [`Batch::pieces`]. The row it
    /// belongs to follows in the same transaction, with a [`Cell::Staged`] in its place.
    Piece(u32),
}

/// What was done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// A new row: an image.
    Insert = 0,
    /// A changed row whose identity stayed: an image.
    Update = 1,
    /// A changed row whose identity changed: the old identity and the new image.
    Rekey = 2,
    /// A removed row: its identity.
    Delete = 3,
}

/// The rows of one table, column by column.
#[derive(Debug, Clone)]
pub struct TableBlock {
    /// The table as it was when the rows were written.
    pub shape: TableShape,
    /// The columns that identify a row, as indexes into `shape.columns`.
    pub identity: Vec<u16>,
    /// One inner list per column of the table, one cell per row image.
    pub images: Vec<Vec<Cell>>,
    /// One inner list per identity column, one cell per identity.
    pub identities: Vec<Vec<Cell>>,
}

/// A statement that the device ran, with what it needs to mean the same at the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The default database it ran in; may be empty.
    pub database: String,
    /// The statement, in the character set of the client that sent it.
    #[serde(with = "bytes_field")]
    pub sql: Vec<u8>,
    /// The session's `sql_mode` as the bit mask the binlog carries.
    pub sql_mode: u64,
    /// Collation id of `character_set_client`.
    pub charset_client: u16,
    /// Collation id of `collation_connection`.
    pub collation_connection: u16,
    /// Collation id of `collation_server`.
    pub collation_server: u16,
    /// Collation id of the default database, 0 where the log does not say (then it is the server's).
    pub collation_database: u16,
    /// The session had `foreign_key_checks=0`.
    pub no_foreign_key_checks: bool,
    /// When it began, microseconds since the Unix epoch: what `NOW()` means in it, and with it the
    /// value of a column that is added with `DEFAULT CURRENT_TIMESTAMP`.
    pub timestamp_us: i64,
    /// The session's `time_zone`, never `SYSTEM`; empty where the statement does not depend on it.
    pub time_zone: String,
    /// The session's `explicit_defaults_for_timestamp`, where the log says it: what a TIMESTAMP column
    /// without a default is.
    pub explicit_defaults_for_timestamp: Option<bool>,
    /// The session's `lc_time_names` by its number; 0 is `en_US`.
    #[serde(default)]
    pub locale: u16,
    /// Collation id of what `utf8mb4` alone means in it; 0 where the log does not say, then it is the default
    /// of the device's server.
    #[serde(default)]
    pub collation_utf8mb4: u16,
    /// The session's `auto_increment_increment` and `auto_increment_offset`; zeros where both are 1.
    #[serde(default)]
    pub auto_increment: [u16; 2],
    /// The session had MariaDB's `sql_if_exists=1`: what is not there is no error.
    #[serde(default)]
    pub if_exists: bool,
}

// === impl Batch ===

impl Batch {
    /// The bytes of a [`Cell::Bytes`] of this batch; empty for any other cell.
    pub fn bytes(&self, cell: Cell) -> &[u8] {
        match cell {
            Cell::Bytes { start, len } => {
                let start = start as usize;
                self.body.get(start..start + len as usize).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// Memory that the decoded batch holds, in bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        let cells: usize = self
            .tables
            .iter()
            .flat_map(|block| block.images.iter().chain(&block.identities))
            .map(|column| column.len() * size_of::<Cell>())
            .sum();
        self.body.len() + cells
    }

    /// How many row changes it holds, rows of a snapshot included.
    pub fn rows(&self) -> u64 {
        let changes = self.transactions.iter().flat_map(|transaction| &transaction.runs);
        let changes = changes.map(|run| match run {
            Run::Rows { count, .. } => u64::from(*count),
            Run::Statement(_) | Run::Skipped(_) | Run::Piece(_) => 0,
        });
        let copied = self.items.iter().map(|item| match item {
            Item::Chunk(chunk) => u64::from(chunk.rows),
            _ => 0,
        });
        changes.sum::<u64>() + copied.sum::<u64>()
    }
}

// === impl Transaction ===

impl Transaction {
    /// How many changes this piece holds; each moves `part` by one.
    pub fn changes(&self) -> u64 {
        self.runs.iter().map(Run::changes).sum()
    }
}

// === impl Run ===

impl Run {
    /// How many changes it is.
    pub fn changes(&self) -> u64 {
        match self {
            Run::Rows { count, .. } => u64::from(*count),
            Run::Statement(_) | Run::Piece(_) => 1,
            Run::Skipped(count) => u64::from(*count),
        }
    }

    /// Takes `next` into this run where it only continues it.
    pub(crate) fn join(&mut self, next: Run) -> bool {
        match (self, next) {
            (
                Run::Rows { table, op, count, acts, .. },
                Run::Rows { table: next_table, op: next_op, count: more, acts: next_acts, .. },
            ) if (*table, *op, *acts) == (next_table, next_op, next_acts) => *count += more,
            (Run::Skipped(count), Run::Skipped(more)) => *count += more,
            _ => return false,
        }
        true
    }

    /// The run without its first `skip` changes, or `None` when nothing is left.
    pub fn skip(self, skip: u64) -> Option<Run> {
        match self {
            run if skip == 0 => Some(run),
            Run::Rows { table, op, image, identity, count, acts } if skip < u64::from(count) => {
                let skip = u32::try_from(skip).unwrap_or(count);
                let image = if op.has_image() { image + skip } else { image };
                let identity = if op.has_identity() { identity + skip } else { identity };
                Some(Run::Rows { table, op, image, identity, count: count - skip, acts })
            }
            Run::Skipped(count) if skip < u64::from(count) => {
                Some(Run::Skipped(count - u32::try_from(skip).unwrap_or(count)))
            }
            _ => None,
        }
    }
}

// === impl Op ===

impl Op {
    /// A row image is stored for it.
    pub fn has_image(self) -> bool {
        !matches!(self, Op::Delete)
    }

    /// The identity of a row that is to go is stored for it.
    pub fn has_identity(self) -> bool {
        matches!(self, Op::Rekey | Op::Delete)
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Op::Insert, Op::Update, Op::Rekey, Op::Delete].into_iter().find(|op| *op as u8 == code)
    }
}

/// Statement text as MessagePack `bin`: it need not be UTF-8.
pub(crate) mod bytes_field {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
