//! Little-endian reads that fail instead of panicking.

use crate::BinlogError;

/// A cursor over an event's body.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    event: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(event: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, event }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn error(&self, detail: impl Into<String>) -> BinlogError {
        BinlogError::malformed(self.event, detail)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], BinlogError> {
        let Some((head, tail)) = self.rest.split_at_checked(count) else {
            return Err(self.error(format!("{count} bytes wanted, {} left", self.rest.len())));
        };
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], BinlogError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, BinlogError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, BinlogError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, BinlogError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, BinlogError> {
        self.array().map(u64::from_le_bytes)
    }

    /// An unsigned number of `count` bytes, at most 8.
    pub(crate) fn uint(&mut self, count: usize) -> Result<u64, BinlogError> {
        Ok(le_uint(self.take(count)?))
    }

    /// A length-encoded integer (MySQL's protocol: 1, 3, 4 or 9 bytes).
    pub(crate) fn lenenc(&mut self) -> Result<u64, BinlogError> {
        match self.u8()? {
            0xfc => self.uint(2),
            0xfd => self.uint(3),
            0xfe => self.u64(),
            0xfb | 0xff => Err(self.error("not a length-encoded integer")),
            small => Ok(u64::from(small)),
        }
    }

    /// A number as MySQL's serialization library writes it: as many low bits are set as bytes follow the
    /// first, then a clear one; 0xff stands in front of eight whole bytes.
    pub(crate) fn varlen(&mut self) -> Result<u64, BinlogError> {
        let first = self.u8()?;
        let more = first.trailing_ones();
        if more == 8 {
            return self.u64();
        }
        let rest = self.uint(more as usize)?;
        let low = u64::from(first) >> (more + 1);
        // With seven more bytes nothing of the first is left.
        Ok(rest << (7 - more) | low)
    }

    /// The same with a sign, which is the lowest bit.
    pub(crate) fn varlen_signed(&mut self) -> Result<i64, BinlogError> {
        let value = self.varlen()?;
        let magnitude = (value >> 1).cast_signed();
        Ok(if value & 1 == 1 { -magnitude - 1 } else { magnitude })
    }

    /// A length-encoded integer that counts bytes or things of at least a byte.
    pub(crate) fn lenenc_len(&mut self) -> Result<usize, BinlogError> {
        let len = self.lenenc()?;
        usize::try_from(len)
            .ok()
            .filter(|len| *len <= self.rest.len())
            .ok_or_else(|| self.error(format!("length {len} with {} bytes left", self.rest.len())))
    }

    pub(crate) fn lenenc_bytes(&mut self) -> Result<&'a [u8], BinlogError> {
        let len = self.lenenc_len()?;
        self.take(len)
    }
}

/// Up to eight bytes, little-endian.
pub(crate) fn le_uint(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Up to eight bytes, big-endian.
pub(crate) fn be_uint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Bit `index` of a bitmap that counts from the least significant bit of its first byte.
pub(crate) fn bit(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}
