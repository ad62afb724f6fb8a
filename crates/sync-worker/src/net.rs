//! The net effect of many changes to the rows of one table.

use std::collections::HashMap;
use tributary_wire::{Batch, Cell, Chunk, Op, Position, Run, TableBlock, TableShape};

/// A row of a decoded batch, by where it stands.
#[derive(Debug, Clone, Copy)]
pub struct RowRef<'a> {
    /// The batch, which holds the bytes.
    pub batch: &'a Batch,
    /// The table's block in it.
    pub block: &'a TableBlock,
    /// Index of the row.
    pub row: usize,
}

/// The values that identify a row.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    /// An identity that went over the wire.
    Identity(RowRef<'a>),
    /// The key columns of a row image.
    Image(RowRef<'a>),
}

/// What is left to be done for one key of a table with a primary key.
#[derive(Debug, Clone, Copy)]
pub enum Net<'a> {
    /// The row is to look like this image.
    Upsert(RowRef<'a>),
    /// The row is to go.
    Delete(Key<'a>),
}

/// One change of a table without a key, which has to be made as it stands.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// A new row.
    Insert(RowRef<'a>),
    /// One row that equals the identity becomes the image.
    Update(RowRef<'a>, RowRef<'a>),
    /// One row that equals the identity goes.
    Delete(RowRef<'a>),
}

/// One change that rows of other tables follow.
#[derive(Debug, Clone, Copy)]
pub struct Acting<'a> {
    /// The row.
    pub old: Key<'a>,
    /// What it is to be; `None` where it goes.
    pub new: Option<RowRef<'a>>,
}

/// All that a group of batches does to one table of one device.
#[derive(Debug)]
pub struct TableWork<'a> {
    /// The table as it was when the rows were written.
    pub shape: &'a TableShape,
    /// Columns of the key, as indexes into the shape's columns; all of them without a key.
    pub identity: &'a [u16],
    /// What is to be done.
    pub changes: Changes<'a>,
    /// Row changes that went in.
    pub rows: u64,
    /// The table is being copied: an image may displace a row that is not copied yet. See
    /// [`crate::copy`].
    pub displaces: bool,
    /// Rows follow its changes, and it is not proved that the target's server changes the same ones: for the keys
    /// of this table, see [`crate::cascades::Cascades::unproved`].
    pub unproved: Option<String>,
}

/// See [`TableWork::changes`].
#[derive(Debug)]
pub enum Changes<'a> {
    /// With a primary key: one net effect per key, in the order in which keys were first touched.
    Keyed(Fold<'a>),
    /// Without one: every change, in order.
    Keyless(Vec<Change<'a>>),
    /// Changes that rows of other tables follow: every one, in order.
    Acting(Vec<Acting<'a>>),
    /// All rows of a range.
    Chunk(ChunkRows<'a>),
}

/// A chunk of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct ChunkRows<'a> {
    /// The batch, which holds the bytes.
    pub batch: &'a Batch,
    /// The table's block in it.
    pub block: &'a TableBlock,
    /// The range, and where its rows stand in the block.
    pub chunk: Chunk,
}

/// Which of a block's rows are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Row images.
    Image,
    /// Identities.
    Identity,
}

/// Net effects by key.
#[derive(Debug, Default)]
pub struct Fold<'a> {
    index: HashMap<Vec<u8>, usize>,
    effects: Vec<Net<'a>>,
}

// === impl RowRef ===

impl<'a> RowRef<'a> {
    /// The cell of a row image.
    pub fn image(&self, column: usize) -> Option<Cell> {
        self.block.images.get(column)?.get(self.row).copied()
    }

    /// The cell of an identity, by its place in the identity.
    pub fn identity(&self, index: usize) -> Option<Cell> {
        self.block.identities.get(index)?.get(self.row).copied()
    }

    /// A cell of the image, or of an identity of all columns.
    pub fn cell(&self, side: Side, column: usize) -> Option<Cell> {
        match side {
            Side::Image => self.image(column),
            Side::Identity => self.identity(column),
        }
    }

    /// The boundary or the beginning of the transaction that the row belongs to: the pieces of its
    /// values stand there too.
    pub fn place(&self, side: Side) -> Option<Position> {
        if !self.batch.items.is_empty() {
            return Some(self.batch.header.end.floor());
        }
        let is_own = |run: &Run| {
            let Run::Rows { table, op, image, identity, count, .. } = *run else { return false };
            let (first, has) = match side {
                Side::Image => (image, op.has_image()),
                Side::Identity => (identity, op.has_identity()),
            };
            let rows = first as usize..first as usize + count as usize;
            let block = self.batch.tables.get(table as usize);
            has && rows.contains(&self.row) && block.is_some_and(|b| std::ptr::eq(b, self.block))
        };
        let mut transactions = self.batch.transactions.iter();
        let own = transactions.find(|transaction| transaction.runs.iter().any(is_own));
        own.map(|transaction| transaction.start.floor())
    }

    /// The bytes of a cell of this row.
    pub fn bytes(&self, cell: Cell) -> &'a [u8] {
        self.batch.bytes(cell)
    }
}

// === impl Key ===

impl<'a> Key<'a> {
    /// The key's value in its `index`-th column, which is column `column` of the table.
    pub fn cell(&self, index: usize, column: u16) -> Option<Cell> {
        match self {
            Key::Identity(row) => row.identity(index),
            Key::Image(row) => row.image(usize::from(column)),
        }
    }

    /// The row that it is taken from.
    pub fn row(&self) -> &RowRef<'a> {
        match self {
            Key::Identity(row) | Key::Image(row) => row,
        }
    }

    /// The bytes of one of its cells.
    pub fn bytes(&self, cell: Cell) -> &'a [u8] {
        match self {
            Key::Identity(row) | Key::Image(row) => row.bytes(cell),
        }
    }

    /// An encoding that two keys share only when their values are the same, byte for byte.
    fn encode(&self, identity: &[u16]) -> Vec<u8> {
        let mut out = Vec::with_capacity(identity.len() * 9);
        for (index, &column) in identity.iter().enumerate() {
            match self.cell(index, column) {
                None | Some(Cell::Null) => out.push(0),
                Some(Cell::Int(value)) => tagged(&mut out, 1, &value.to_le_bytes()),
                Some(Cell::UInt(value)) => tagged(&mut out, 2, &value.to_le_bytes()),
                Some(Cell::F32(value)) => tagged(&mut out, 3, &value.to_bits().to_le_bytes()),
                Some(Cell::F64(value)) => tagged(&mut out, 4, &value.to_bits().to_le_bytes()),
                Some(cell @ Cell::Bytes { len, .. }) => {
                    tagged(&mut out, 5, &len.to_le_bytes());
                    out.extend_from_slice(self.bytes(cell));
                }
                Some(Cell::Staged { part, count }) => {
                    tagged(&mut out, 6, &part.to_le_bytes());
                    out.extend_from_slice(&count.to_le_bytes());
                }
            }
        }
        out
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

// === impl TableWork ===

impl<'a> TableWork<'a> {
    /// Nothing yet, for the table of `block`.
    pub fn new(block: &'a TableBlock) -> Self {
        let changes = if block.shape.has_key() {
            Changes::Keyed(Fold::default())
        } else {
            Changes::Keyless(Vec::new())
        };
        Self::with(block, changes)
    }

    /// Nothing yet, for changes of the table of `block` that rows of other tables follow.
    pub fn acting(block: &'a TableBlock) -> Self {
        Self::with(block, Changes::Acting(Vec::new()))
    }

    /// A chunk, which nothing is added to.
    pub fn of_chunk(batch: &'a Batch, block: &'a TableBlock, chunk: Chunk) -> Self {
        Self::with(block, Changes::Chunk(ChunkRows { batch, block, chunk }))
    }

    fn with(block: &'a TableBlock, changes: Changes<'a>) -> Self {
        let (shape, identity) = (&block.shape, &block.identity[..]);
        Self { shape, identity, changes, rows: 0, displaces: false, unproved: None }
    }

    /// True for changes of the table that the block is of, whatever its shape.
    pub fn is_of(&self, block: &TableBlock) -> bool {
        (&self.shape.table, &self.shape.database) == (&block.shape.table, &block.shape.database)
    }

    /// True for changes that rows of other tables follow.
    pub fn is_acting(&self) -> bool {
        matches!(self.changes, Changes::Acting(_))
    }

    /// True for a chunk.
    pub fn is_chunk(&self) -> bool {
        matches!(self.changes, Changes::Chunk(_))
    }

    /// Takes in a run of row changes of this table; other runs are not its own.
    pub fn add(&mut self, batch: &'a Batch, block: &'a TableBlock, run: Run) {
        let Run::Rows { op, image, identity, count, .. } = run else { return };
        let row = |first: u32, i: u32| RowRef { batch, block, row: (first + i) as usize };
        for i in 0..count {
            match &mut self.changes {
                Changes::Keyed(fold) => {
                    fold.add(self.identity, op, row(image, i), row(identity, i));
                }
                Changes::Acting(list) => {
                    let image = op.has_image().then(|| row(image, i));
                    let old = match image.filter(|_| !op.has_identity()) {
                        Some(image) => Key::Image(image),
                        None => Key::Identity(row(identity, i)),
                    };
                    list.push(Acting { old, new: image });
                }
                // Nothing is added to a chunk.
                Changes::Chunk(_) => {}
                Changes::Keyless(list) => list.push(match op {
                    Op::Insert => Change::Insert(row(image, i)),
                    Op::Update | Op::Rekey => Change::Update(row(identity, i), row(image, i)),
                    Op::Delete => Change::Delete(row(identity, i)),
                }),
            }
        }
        self.rows += u64::from(count);
    }
}

/// The part behind the last piece that these rows are put together from, if any is.
pub(crate) fn last_piece(columns: &[Vec<Cell>], first: u32, count: u32) -> Option<u64> {
    let rows = first as usize..first as usize + count as usize;
    let cells = columns.iter().filter_map(|column| column.get(rows.clone())).flatten();
    let last = |cell: &Cell| match cell {
        Cell::Staged { part, count } => {
            Some(part.saturating_add(u64::from(*count).saturating_sub(1)))
        }
        _ => None,
    };
    cells.filter_map(last).max()
}

// === impl ChunkRows ===

impl<'a> ChunkRows<'a> {
    /// The row images.
    pub fn images(&self) -> impl Iterator<Item = RowRef<'a>> + Clone + use<'a> {
        let (first, rows) = (self.chunk.image as usize, self.chunk.rows as usize);
        let Self { batch, block, .. } = *self;
        (first..first + rows).map(move |row| RowRef { batch, block, row })
    }

    /// The keys of the range that are left as they are.
    pub fn kept(&self) -> impl ExactSizeIterator<Item = Key<'a>> + use<'a> {
        let Self { batch, block, chunk } = *self;
        chunk.kept_indexes().map(move |row| Key::Identity(RowRef { batch, block, row }))
    }

    /// The key that the range begins behind.
    pub fn lower(&self) -> Option<Key<'a>> {
        self.chunk.lower_index().map(|row| self.bound(row))
    }

    /// The key that the range ends with.
    pub fn upper(&self) -> Option<Key<'a>> {
        self.chunk.upper_index().map(|row| self.bound(row))
    }

    fn bound(&self, row: usize) -> Key<'a> {
        Key::Identity(RowRef { batch: self.batch, block: self.block, row })
    }
}

// === impl Fold ===

impl<'a> Fold<'a> {
    /// The net effects, in the order in which their keys were first touched.
    pub fn effects(&self) -> &[Net<'a>] {
        &self.effects
    }

    /// Takes in one change that rows of other tables follow.
    pub(crate) fn add_acting(&mut self, identity: &[u16], change: &Acting<'a>) {
        self.set(change.old.encode(identity), Net::Delete(change.old));
        if let Some(image) = change.new {
            self.set(Key::Image(image).encode(identity), Net::Upsert(image));
        }
    }

    fn add(&mut self, identity: &[u16], op: Op, image: RowRef<'a>, old: RowRef<'a>) {
        if op.has_identity() {
            let key = Key::Identity(old);
            self.set(key.encode(identity), Net::Delete(key));
        }
        if op.has_image() {
            self.set(Key::Image(image).encode(identity), Net::Upsert(image));
        }
    }

    fn set(&mut self, key: Vec<u8>, effect: Net<'a>) {
        match self.index.get(&key) {
            Some(&at) => self.effects[at] = effect,
            None => {
                self.index.insert(key, self.effects.len());
                self.effects.push(effect);
            }
        }
    }
}
