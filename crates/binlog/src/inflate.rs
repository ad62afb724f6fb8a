//! MariaDB's compressed events and columns (`log_bin_compress`, `… COMPRESSED`).
//!
//! Both begin with a byte that says how they are packed, and the length before packing; what follows
//! is deflated.

use crate::reader::Reader;
use crate::{BinlogError, StreamError};
use flate2::read::ZlibDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use std::borrow::Cow;
use std::io::{self, Read};

/// No event or value is larger: `max_allowed_packet` goes up to this.
const BYTES_MAX: usize = 1 << 30;
/// Output grows by so much at a time, whatever the length in front claims.
const STEP_BYTES: usize = 64 << 10;

/// The body of a compressed statement as it would stand in the log without compression, and its type.
/// `None` for every other event. (`query_event_uncompress` in `sql/log_event.cc`.)
pub(crate) fn event(code: u8, data: &[u8]) -> Result<Option<(u8, Vec<u8>)>, BinlogError> {
    if code != 165 {
        return Ok(None);
    }
    let mut reader = Reader::new("QUERY_COMPRESSED", data);
    query_head(&mut reader)?;
    let head = data.len() - reader.rest().len();
    let mut plain = data[..head].to_vec();
    unpack(&mut reader, &mut plain)?;
    Ok(Some((2, plain)))
}

/// A compressed rows event as a stream (`row_log_event_uncompress` in `sql/log_event.cc`): its type without compression, what its body would be, and how
/// many bytes that has.
///
/// # Errors
/// When the head is malformed, or the packing is not known.
pub fn rows_stream(
    code: u8,
    mut packed: Box<dyn Read + Send>,
) -> Result<(u8, Box<dyn Read + Send>, u64), StreamError> {
    let plain_code = match code {
        166..=168 => code - 166 + 23,
        169..=171 => code - 169 + 30,
        _ => return Err(BinlogError::malformed("compressed rows", format!("type {code}")).into()),
    };
    // Whatever precedes the packed part has at most this many bytes: extra data, and two bitmaps.
    let mut head = Vec::new();
    let mut take = |bytes: usize, head: &mut Vec<u8>| -> io::Result<()> {
        let begin = head.len();
        head.resize(begin + bytes, 0);
        packed.read_exact(&mut head[begin..])
    };
    take(8, &mut head)?;
    if plain_code >= 30 {
        take(2, &mut head)?;
        let extra = usize::from(u16::from_le_bytes([head[8], head[9]]));
        take(extra.saturating_sub(2), &mut head)?;
    }
    let begin = head.len();
    take(1, &mut head)?;
    take(if head[begin] == 0xfc { 2 } else { 0 }, &mut head)?;
    // More than 65535 columns no table has.
    let columns = Reader::new("compressed rows", &head[begin..]).lenenc()?;
    let columns = usize::try_from(columns).unwrap_or(0);
    let bitmaps = if matches!(plain_code, 24 | 31) { 2 } else { 1 };
    take(columns.div_ceil(8) * bitmaps, &mut head)?;
    let mut packing = Vec::new();
    take(1, &mut packing)?;
    take(width(packing[0]).unwrap_or(0), &mut packing)?;
    let mut reader = Reader::new("compressed rows", &packing);
    let bytes = unpacked_bytes(&mut reader)? as u64;
    let total = head.len() as u64 + bytes;
    let plain = Exact { input: ZlibDecoder::new(packed), left: bytes };
    Ok((plain_code, Box::new(io::Cursor::new(head).chain(plain)), total))
}

/// A stream that has to unpack to so many bytes and no more.
struct Exact<R> {
    input: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let read = self.input.read(&mut out[..wanted])?;
        self.left -= read as u64;
        // What follows the last byte tells of a length that lies, and lets the checksum be compared.
        if self.left == 0 && read > 0 && self.input.read(&mut [0])? > 0 {
            let what = "it unpacks to more bytes than it announces";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(read)
    }
}

/// Moves to the statement.
fn query_head(reader: &mut Reader<'_>) -> Result<(), BinlogError> {
    reader.take(8)?;
    let database = usize::from(reader.u8()?);
    reader.take(2)?;
    let status = usize::from(reader.u16()?);
    reader.take(status + database + 1).map(drop)
}

/// The packed part: a byte with the top bit set, three bits of algorithm (0 is zlib) and the length of
/// the length; the length, most significant byte first; a zlib stream.
fn unpack(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), BinlogError> {
    let bytes = unpacked_bytes(reader)?;
    deflated(reader.rest(), true, bytes, out).map_err(|detail| reader.error(detail))
}

/// How many bytes the length has; `None` where the packing is not known.
fn width(head: u8) -> Option<usize> {
    let (is_packed, algorithm, width) = (head & 0x80 != 0, head >> 4 & 7, usize::from(head & 7));
    (is_packed && algorithm == 0 && (1..=4).contains(&width)).then_some(width)
}

/// Reads the head of the packed part.
fn unpacked_bytes(reader: &mut Reader<'_>) -> Result<usize, BinlogError> {
    let head = reader.u8()?;
    let width = width(head)
        .ok_or_else(|| reader.error(format!("packed in an unknown way ({head:#04x})")))?;
    let bytes = crate::reader::be_uint(reader.take(width)?);
    let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| reader.error("it unpacks to nothing"))
}

/// Appends exactly `bytes` bytes, unpacked from all of `packed`.
fn deflated(packed: &[u8], zlib: bool, bytes: usize, out: &mut Vec<u8>) -> Result<(), String> {
    if bytes > BYTES_MAX {
        return Err(format!("{bytes} bytes are more than a server allows"));
    }
    let begin = out.len();
    let end = begin + bytes;
    let mut state = Decompress::new(zlib);
    loop {
        // One byte more than announced, so that a stream that goes on is noticed.
        let room = STEP_BYTES.min(end + 1 - out.len());
        out.reserve(room);
        let used = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        let before = (state.total_in(), state.total_out());
        let input = packed.get(used..).unwrap_or_default();
        let status = state.decompress_vec(input, out, FlushDecompress::None);
        let status = status.map_err(|error| error.to_string())?;
        if out.len() > end {
            return Err(format!("it unpacks to more than {bytes} bytes"));
        }
        if status == Status::StreamEnd {
            break;
        }
        if before == (state.total_in(), state.total_out()) {
            return Err("it is cut off".to_owned());
        }
    }
    let used = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
    if out.len() == end && used == packed.len() {
        return Ok(());
    }
    Err(format!(
        "{} bytes came out of {used} where {bytes} of {} were announced",
        out.len() - begin,
        packed.len()
    ))
}

/// A value of a `… COMPRESSED` column as the application wrote it (`compress_zlib` in
/// `sql/field_comp.cc`). Its first byte holds four bits of method (0 is stored as it is, 8 is zlib), one
/// that says that zlib's own header is left out, and the length of the length.
pub(crate) fn column(raw: &[u8]) -> Result<Cow<'_, [u8]>, BinlogError> {
    const NAME: &str = "rows";
    let Some((&head, rest)) = raw.split_first() else { return Ok(Cow::Borrowed(raw)) };
    match head >> 4 {
        0 if head == 0 => return Ok(Cow::Borrowed(rest)),
        8 => {}
        _ => {
            return Err(BinlogError::Unsupported(format!(
                "a column's value is compressed in way {head:#04x}, which is unknown to this build: upgrade the publisher"
            )));
        }
    }
    let mut reader = Reader::new(NAME, rest);
    let width = usize::from(head & 7);
    let bytes = crate::reader::be_uint(reader.take(width)?);
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut plain = Vec::new();
    deflated(reader.rest(), head & 8 == 0, bytes, &mut plain)
        .map_err(|detail| BinlogError::malformed(NAME, format!("a compressed value: {detail}")))?;
    Ok(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    fn deflate(plain: &[u8], zlib: bool) -> Vec<u8> {
        let mut packed = Vec::with_capacity(plain.len() + 100);
        let mut state = Compress::new(Compression::default(), zlib);
        state.compress_vec(plain, &mut packed, FlushCompress::Finish).expect("packs");
        packed
    }

    /// A QUERY_COMPRESSED event in database `d`, whose statement is `packed`.
    fn query(packed: &[u8]) -> Vec<u8> {
        let mut data = vec![0; 8];
        data.extend([1, 0, 0, 2, 0, 7, 7, b'd', 0]);
        data.extend(packed);
        data
    }

    fn rows(code: u8, data: &[u8]) -> Result<(u8, Vec<u8>), StreamError> {
        let (code, stream, bytes) = rows_stream(code, Box::new(io::Cursor::new(data.to_vec())))?;
        let mut plain = Vec::new();
        stream.take(bytes + 1).read_to_end(&mut plain)?;
        if plain.len() as u64 == bytes {
            return Ok((code, plain));
        }
        Err(BinlogError::malformed("rows", "cut off").into())
    }

    fn packed(head: &[u8], plain: &[u8]) -> Vec<u8> {
        [head, &deflate(plain, true)].concat()
    }

    #[test]
    fn compressed_events_become_plain_ones() {
        let sql = "INSERT ".repeat(1000);
        let packed_sql = packed(&[0x82, 0x1b, 0x58], sql.as_bytes());
        let (code, plain) = event(165, &query(&packed_sql)).expect("unpacks").expect("compressed");
        assert_eq!((code, &plain[..17], &plain[17..]), (2, &query(&[])[..], sql.as_bytes()));

        // Version 1, an update of nine columns: two bitmaps of two bytes each.
        let head = [7, 0, 0, 0, 0, 0, 1, 0, 9, 0xff, 1, 0xff, 1];
        let data = [&head[..], &packed(&[0x81, 4], b"rows")].concat();
        let (code, plain) = rows(167, &data).expect("unpacks");
        assert_eq!((code, plain), (24, [&head[..], b"rows"].concat()));

        // Version 2 with three bytes of extra data, a delete of one column.
        let head = [7, 0, 0, 0, 0, 0, 1, 0, 5, 0, 1, 2, 3, 1, 1];
        let data = [&head[..], &packed(&[0x81, 4], b"rows")].concat();
        let (code, plain) = rows(171, &data).expect("unpacks");
        assert_eq!((code, plain), (32, [&head[..], b"rows"].concat()));

        assert_eq!(event(2, &query(b"BEGIN")), Ok(None));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let good = packed(&[0x81, 4], b"rows");
        assert!(event(165, &query(&good)).is_ok());
        let cases = [
            ("more announced", packed(&[0x81, 5], b"rows")),
            ("less announced", packed(&[0x81, 3], b"rows")),
            ("nothing announced", packed(&[0x81, 0], b"")),
            ("four gibibytes announced", packed(&[0x84, 0xff, 0xff, 0xff, 0xff], b"rows")),
            ("a gibibyte announced", packed(&[0x84, 0x40, 0, 0, 0], b"rows")),
            ("no length", packed(&[0x80], b"rows")),
            ("five bytes of length", packed(&[0x85, 0, 0, 0, 0, 4], b"rows")),
            ("not packed", packed(&[0x01, 4], b"rows")),
            ("another algorithm", packed(&[0x91, 4], b"rows")),
            ("cut off", good[..good.len() - 1].to_vec()),
            ("trailing bytes", [good.clone(), vec![0]].concat()),
            ("nothing at all", Vec::new()),
        ];
        for (what, packed) in cases {
            assert!(event(165, &query(&packed)).is_err(), "{what}");
            let head = [7, 0, 0, 0, 0, 0, 1, 0, 1, 1];
            // A stream is not looked at behind its end, and memory does not depend on what it announces.
            if !what.starts_with("trailing") {
                assert!(rows(166, &[&head[..], &packed].concat()).is_err(), "{what}");
            }
        }
    }

    #[test]
    fn compressed_columns_become_plain_ones() {
        let text = "x".repeat(300);
        assert_eq!(column(b"").expect("empty").as_ref(), b"");
        assert_eq!(column(b"\0plain").expect("stored").as_ref(), b"plain");
        let zlib = packed(&[0x82, 1, 44], text.as_bytes());
        assert_eq!(column(&zlib).expect("zlib").as_ref(), text.as_bytes());
        let raw = [&[0x8a, 1, 44][..], &deflate(text.as_bytes(), false)].concat();
        assert_eq!(column(&raw).expect("raw").as_ref(), text.as_bytes());
        for lie in [&[0x82][..], &[0x82, 1, 43], &[0x90, 1], &[0x01, 1]] {
            assert!(column(&[lie, &deflate(text.as_bytes(), true)].concat()).is_err(), "{lie:?}");
        }
    }
}
