//! MySQL's binary JSON to text (`sql-common/json_binary.h` describes the format).

use crate::BinlogError;
use crate::json_scalar::{double, opaque};
use crate::reader::{Reader, le_uint};
use std::fmt::Write;

/// MySQL refuses to build documents deeper than this (`JSON_DOCUMENT_MAX_DEPTH`).
const DEPTH_MAX: usize = 100;

/// The document as JSON text with typed scalars (`schemas/wire/batch.md`). No bytes at all is what a failed update of a NOT NULL column leaves:
/// the literal `null`.
pub(crate) fn to_text(document: &[u8]) -> Result<String, BinlogError> {
    let mut out = String::with_capacity(document.len() * 2);
    match document.split_first() {
        None => out.push_str("null"),
        // Every value takes a byte at least; containers that share their members run out of budget.
        Some((&kind, body)) => {
            let bytes = document.len().saturating_mul(TEXT_BYTES_PER_BYTE);
            let mut nesting = Nesting { depth: DEPTH_MAX, values: document.len(), bytes };
            value(kind, body, &mut nesting, &mut out)?;
        }
    }
    Ok(out)
}

/// A control character of a string becomes six, an element of three bytes at most eight.
const TEXT_BYTES_PER_BYTE: usize = 8;

/// How much deeper, how many values more, and how long its text, a document may go.
struct Nesting {
    depth: usize,
    values: usize,
    /// Members that share their bytes, as only a damaged document's do, would multiply them.
    bytes: usize,
}

pub(crate) fn malformed(detail: &str) -> BinlogError {
    BinlogError::malformed("rows", format!("a JSON value: {detail}"))
}

fn value(
    kind: u8,
    body: &[u8],
    nesting: &mut Nesting,
    out: &mut String,
) -> Result<(), BinlogError> {
    let mut reader = Reader::new("rows", body);
    match kind {
        0x00 => container(body, 2, true, nesting, out)?,
        0x01 => container(body, 4, true, nesting, out)?,
        0x02 => container(body, 2, false, nesting, out)?,
        0x03 => container(body, 4, false, nesting, out)?,
        0x04 => literal(reader.u8()?, out)?,
        0x05 => number(out, reader.u16()?.cast_signed()),
        0x06 => number(out, reader.u16()?),
        0x07 => number(out, reader.u32()?.cast_signed()),
        0x08 => number(out, reader.u32()?),
        0x09 => number(out, reader.u64()?.cast_signed()),
        0x0a => number(out, reader.u64()?),
        0x0b => double(f64::from_le_bytes(reader.array()?), out)?,
        0x0c => {
            let len = varint(&mut reader)?;
            string(reader.take(len)?, out)?;
        }
        0x0f => {
            let field = reader.u8()?;
            let len = varint(&mut reader)?;
            opaque(field, reader.take(len)?, out)?;
        }
        other => return Err(malformed(&format!("type {other}"))),
    }
    Ok(())
}

fn number(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

fn literal(code: u8, out: &mut String) -> Result<(), BinlogError> {
    out.push_str(match code {
        0 => "null",
        1 => "true",
        2 => "false",
        _ => return Err(malformed("an unknown literal")),
    });
    Ok(())
}

/// Seven bits a byte, the least significant first, at most five bytes.
fn varint(reader: &mut Reader<'_>) -> Result<usize, BinlogError> {
    let mut length = 0usize;
    for shift in 0..5 {
        let byte = reader.u8()?;
        length |= usize::from(byte & 0x7f) << (7 * shift);
        if byte & 0x80 == 0 {
            return Ok(length);
        }
    }
    Err(malformed("a length of more than five bytes"))
}

/// Count, size, then for objects a table of keys, a table of values, and what they point to; offsets
/// count from the container's start.
fn container(
    body: &[u8],
    width: usize,
    object: bool,
    nesting: &mut Nesting,
    out: &mut String,
) -> Result<(), BinlogError> {
    nesting.depth =
        nesting.depth.checked_sub(1).ok_or_else(|| malformed("nested deeper than 100"))?;
    let mut reader = Reader::new("rows", body);
    let length = |reader: &mut Reader<'_>| -> Result<usize, BinlogError> {
        Ok(usize::try_from(reader.uint(width)?).unwrap_or(usize::MAX))
    };
    let count = length(&mut reader)?;
    let size = length(&mut reader)?;
    let body = body.get(..size).ok_or_else(|| malformed("a container is cut off"))?;
    let entry = if object { width + 2 } else { 0 } + 1 + width;
    if count.saturating_mul(entry) > body.len() {
        return Err(malformed("more members than bytes"));
    }
    let mut keys = reader.clone();
    let mut values = reader;
    if object {
        values.take(count * (width + 2))?;
    }
    out.push(if object { '{' } else { '[' });
    for index in 0..count {
        if index > 0 {
            out.push_str(", ");
        }
        if object {
            let offset = length(&mut keys)?;
            let len = usize::from(keys.u16()?);
            let end = offset.saturating_add(len);
            string(body.get(offset..end).ok_or_else(|| malformed("a key is cut off"))?, out)?;
            out.push_str(": ");
        }
        if out.len() > nesting.bytes {
            return Err(malformed("its members share their bytes"));
        }
        nesting.values =
            nesting.values.checked_sub(1).ok_or_else(|| malformed("more values than bytes"))?;
        let kind = values.u8()?;
        let slot = values.take(width)?;
        if inlined(kind, width) {
            value(kind, slot, nesting, out)?;
        } else {
            let offset = usize::try_from(le_uint(slot)).unwrap_or(usize::MAX);
            let target = body.get(offset..).ok_or_else(|| malformed("a value is cut off"))?;
            value(kind, target, nesting, out)?;
        }
    }
    nesting.depth += 1;
    out.push(if object { '}' } else { ']' });
    Ok(())
}

/// Literals and 16-bit numbers lie in the table itself; 32-bit numbers too in a large container.
fn inlined(kind: u8, width: usize) -> bool {
    matches!(kind, 0x04..=0x06) || (width == 4 && matches!(kind, 0x07 | 0x08))
}

fn string(bytes: &[u8], out: &mut String) -> Result<(), BinlogError> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("a string is not UTF-8"))?;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_object_reads_as_text() {
        // {"a": 1, "b": [true, "x"]} as MySQL lays it out.
        let document = [
            0x00, 2, 0, 32, 0, 18, 0, 1, 0, 19, 0, 1, 0, 0x05, 1, 0, 0x02, 20, 0, b'a', b'b', 2, 0,
            12, 0, 0x04, 1, 0, 0x0c, 10, 0, 1, b'x',
        ];
        assert_eq!(to_text(&document).expect("reads"), r#"{"a": 1, "b": [true, "x"]}"#);
    }

    #[test]
    fn a_document_nested_in_itself_is_refused() {
        // An array whose only element points at the array.
        let document = [0x02, 1, 0, 7, 0, 0x02, 0, 0];
        assert!(to_text(&document).is_err());
    }
}
