//! One value after another out of a body, and an account of what they unpack to.

use crate::{Cell, DecodeError, cell};
use serde::de::DeserializeOwned;

/// The sum of two parts of a position.
pub(crate) fn add(a: u64, b: u64) -> Result<u64, DecodeError> {
    a.checked_add(b).ok_or_else(|| DecodeError::damaged("a position overflows"))
}

pub(crate) struct Reader<'a> {
    body: &'a [u8],
    pub(crate) at: usize,
    /// What has been unpacked, in cells.
    cells: u64,
    cells_max: u64,
    /// From how many pieces its values have to be put together.
    staged: u64,
}

/// Pieces that the values of one message are put together from. The most that a server takes, 1 GiB, is a
/// thousand of them; each costs its reader more than the message that names it.
const STAGED_MAX: u64 = 1 << 16;

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8], cells_max: u64) -> Self {
        Self { body, at: 0, cells: 0, cells_max, staged: 0 }
    }

    pub(crate) fn serde<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        let mut decoder = rmp_serde::Deserializer::new(&self.body[self.at..]);
        decoder.set_max_depth(16);
        let value = T::deserialize(&mut decoder).map_err(DecodeError::damaged)?;
        self.at = self.body.len() - decoder.into_inner().len();
        Ok(value)
    }

    pub(crate) fn uint(&mut self) -> Result<u64, DecodeError> {
        match cell::read(self.body, &mut self.at)? {
            Cell::UInt(value) => Ok(value),
            Cell::Int(value) => u64::try_from(value).map_err(DecodeError::damaged),
            other => Err(DecodeError::damaged(format!("{other:?} is not a number"))),
        }
    }

    pub(crate) fn int(&mut self) -> Result<i64, DecodeError> {
        match cell::read(self.body, &mut self.at)? {
            Cell::Int(value) => Ok(value),
            other => Err(DecodeError::damaged(format!("{other:?} is not a number"))),
        }
    }

    /// A number of things that follow, of which each unpacks to so many cells. Each takes a byte at
    /// least, so their number is bounded by what is left, too.
    pub(crate) fn count(&mut self, cells_each: u64) -> Result<usize, DecodeError> {
        let count = self.uint()?;
        let left = self.body.len() - self.at;
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count <= left)
            .ok_or_else(|| DecodeError::damaged(format!("{count} things in {left} bytes")))?;
        self.charge(count, cells_each)?;
        Ok(count)
    }

    /// The head of a MessagePack array.
    pub(crate) fn array(&mut self) -> Result<usize, DecodeError> {
        let mut rest = &self.body[self.at..];
        let count = rmp::decode::read_array_len(&mut rest).map_err(DecodeError::damaged)?;
        self.at = self.body.len() - rest.len();
        Ok(count as usize)
    }

    /// Asks for room before anything is unpacked into it.
    pub(crate) fn charge(&mut self, count: usize, cells_each: u64) -> Result<(), DecodeError> {
        self.cells = self.cells.saturating_add((count as u64).saturating_mul(cells_each));
        if self.cells > self.cells_max {
            return Err(DecodeError::TooLarge {
                what: "the number of cells",
                found: self.cells,
                limit: self.cells_max,
            });
        }
        Ok(())
    }

    pub(crate) fn columns(
        &mut self,
        columns: usize,
        rows: usize,
    ) -> Result<Vec<Vec<Cell>>, DecodeError> {
        (0..columns).map(|_| (0..rows).map(|_| self.cell()).collect()).collect()
    }

    fn cell(&mut self) -> Result<Cell, DecodeError> {
        let cell = cell::read(self.body, &mut self.at)?;
        if let Cell::Staged { part, count } = cell {
            add(part, u64::from(count))?;
            self.staged = self.staged.saturating_add(u64::from(count));
            if self.staged > STAGED_MAX {
                return Err(DecodeError::TooLarge {
                    what: "the number of pieces that its values are put together from",
                    found: self.staged,
                    limit: STAGED_MAX,
                });
            }
        }
        Ok(cell)
    }
}
