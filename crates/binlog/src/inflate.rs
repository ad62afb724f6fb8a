//! MariaDB's compressed events and columns (`log_bin_compress`, `… COMPRESSED`).
//!
//! Both begin with a byte that says how they are packed, and the length before packing; what follows
//! is deflated.

use crate::BinlogError;
use crate::reader::Reader;
use flate2::{Decompress, FlushDecompress, Status};
use std::borrow::Cow;

/// No event or value is larger: `max_allowed_packet` goes up to this.
const BYTES_MAX: usize = 1 << 30;
/// Output grows by so much at a time, whatever the length in front claims.
const STEP_BYTES: usize = 64 << 10;

/// The body of a compressed event as it would stand in the log without compression, and its type.
/// `None` for every other event. (`query_event_uncompress`, `row_log_event_uncompress` in
/// `sql/log_event.cc`.)
pub(crate) fn event(code: u8, data: &[u8]) -> Result<Option<(u8, Vec<u8>)>, BinlogError> {
    let (name, plain_code) = match code {
        165 => ("QUERY_COMPRESSED", 2),
        166..=168 => ("compressed rows", code - 166 + 23),
        169..=171 => ("compressed rows", code - 169 + 30),
        _ => return Ok(None),
    };
    let mut reader = Reader::new(name, data);
    match code {
        165 => query_head(&mut reader)?,
        _ => rows_head(plain_code, &mut reader)?,
    }
    let head = data.len() - reader.rest().len();
    let mut plain = data[..head].to_vec();
    unpack(&mut reader, &mut plain)?;
    Ok(Some((plain_code, plain)))
}

/// Moves to the statement.
fn query_head(reader: &mut Reader<'_>) -> Result<(), BinlogError> {
    reader.take(8)?;
    let database = usize::from(reader.u8()?);
    reader.take(2)?;
    let status = usize::from(reader.u16()?);
    reader.take(status + database + 1).map(drop)
}

/// Moves to the rows.
fn rows_head(code: u8, reader: &mut Reader<'_>) -> Result<(), BinlogError> {
    reader.take(8)?;
    if code >= 30 {
        let extra = usize::from(reader.u16()?);
        reader.take(extra.saturating_sub(2))?;
    }
    let columns = usize::try_from(reader.lenenc()?).unwrap_or(usize::MAX);
    let bitmaps = if matches!(code, 24 | 31) { 2 } else { 1 };
    reader.take(columns.div_ceil(8).saturating_mul(bitmaps)).map(drop)
}

/// The packed part: a byte with the top bit set, three bits of algorithm (0 is zlib) and the length of
/// the length; the length, most significant byte first; a zlib stream.
fn unpack(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), BinlogError> {
    let head = reader.u8()?;
    let (is_packed, algorithm, width) = (head & 0x80 != 0, head >> 4 & 7, usize::from(head & 7));
    if !is_packed || algorithm != 0 || !(1..=4).contains(&width) {
        return Err(reader.error(format!("packed in an unknown way ({head:#04x})")));
    }
    let bytes = crate::reader::be_uint(reader.take(width)?);
    let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
    let bytes = bytes.ok_or_else(|| reader.error("it unpacks to nothing"))?;
    deflated(reader.rest(), true, bytes, out).map_err(|detail| reader.error(detail))
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
        let (code, plain) = event(167, &data).expect("unpacks").expect("compressed");
        assert_eq!((code, plain), (24, [&head[..], b"rows"].concat()));

        // Version 2 with three bytes of extra data, a delete of one column.
        let head = [7, 0, 0, 0, 0, 0, 1, 0, 5, 0, 1, 2, 3, 1, 1];
        let data = [&head[..], &packed(&[0x81, 4], b"rows")].concat();
        let (code, plain) = event(171, &data).expect("unpacks").expect("compressed");
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
