//! A row that no message holds: its large values go ahead in pieces.

use super::chunk::{Arena, cell_bytes};
use crate::capture::{Capture, CaptureError};
use tributary_wire::{ColumnBuffer, Seal, TableColumns, TableShape};

/// Values that are longer go ahead, in pieces of at most so many bytes.
const STAGED_FROM: usize = 16 << 10;
const PIECE: usize = 64 << 10;

/// Writes one row, sending its large values ahead.
pub(super) fn row(
    capture: &mut Capture,
    shape: &TableShape,
    arena: &Arena,
    row: usize,
    columns: &mut TableColumns,
    sealed: &mut Vec<Seal>,
) -> Result<(), CaptureError> {
    for column in 0..shape.columns.len() {
        let encoded = arena.cell(row, column);
        let is_key = shape.primary_key.iter().any(|&key| usize::from(key) == column);
        let large = cell_bytes(encoded).filter(|bytes| bytes.len() > STAGED_FROM && !is_key);
        match large {
            None => columns.images[column].push_encoded(encoded),
            Some(bytes) => staged(capture, bytes, &mut columns.images[column], sealed)?,
        }
    }
    Ok(())
}

fn staged(
    capture: &mut Capture,
    bytes: &[u8],
    out: &mut ColumnBuffer,
    sealed: &mut Vec<Seal>,
) -> Result<(), CaptureError> {
    let (mut first, mut count) = (None, 0);
    for piece in bytes.chunks(PIECE) {
        let part = capture.place_piece(piece, sealed)?;
        first.get_or_insert(part);
        count += 1;
    }
    out.push_staged(first.unwrap_or_default(), count);
    Ok(())
}
