//! DECIMAL and the temporal types.

use crate::BinlogError;
use crate::reader::be_uint;
use tributary_wire::ColumnBuffer;

/// Nine decimal digits lie in four bytes, fewer in as many as they need (`strings/decimal.cc`).
const DIGITS_PER_WORD: usize = 9;
const BYTES_FOR_DIGITS: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// How many bytes a DECIMAL takes.
pub(crate) fn decimal_bytes(precision: u8, scale: u8) -> usize {
    let bytes =
        |digits: usize| digits / DIGITS_PER_WORD * 4 + BYTES_FOR_DIGITS[digits % DIGITS_PER_WORD];
    bytes(usize::from(precision.saturating_sub(scale))) + bytes(usize::from(scale))
}

/// Big-endian words; the top bit says "not negative", and a negative number has all bits inverted.
pub(crate) fn decimal(
    raw: &[u8],
    precision: u8,
    scale: u8,
    out: &mut ColumnBuffer,
) -> Result<(), BinlogError> {
    // 17 groups of digits hold DECIMAL(65,30) with room.
    let mut bytes = [0u8; 40];
    let Some(bytes) = bytes.get_mut(..raw.len()).filter(|bytes| !bytes.is_empty()) else {
        return Err(BinlogError::malformed("rows", format!("a DECIMAL of {} bytes", raw.len())));
    };
    bytes.copy_from_slice(raw);
    let negative = bytes[0] & 0x80 == 0;
    bytes[0] ^= 0x80;
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let (whole, fraction) = (usize::from(precision - scale), usize::from(scale));
    let mut text = Vec::with_capacity(usize::from(precision) + 3);
    let (mut at, mut overflows) = (0, false);
    let mut group = |digits: usize, text: &mut Vec<u8>| {
        let width = BYTES_FOR_DIGITS[digits];
        let value = be_uint(&bytes[at..at + width]);
        at += width;
        overflows |= value >= 10u64.pow(u32::try_from(digits).unwrap_or(0));
        text.extend_from_slice(format!("{value:0digits$}").as_bytes());
    };
    if whole % DIGITS_PER_WORD > 0 {
        group(whole % DIGITS_PER_WORD, &mut text);
    }
    (0..whole / DIGITS_PER_WORD).for_each(|_| group(DIGITS_PER_WORD, &mut text));
    let leading = text.iter().take_while(|digit| **digit == b'0').count();
    text.drain(..leading.min(text.len().saturating_sub(1)));
    if text.is_empty() {
        text.push(b'0');
    }
    if fraction > 0 {
        text.push(b'.');
        (0..fraction / DIGITS_PER_WORD).for_each(|_| group(DIGITS_PER_WORD, &mut text));
        if fraction % DIGITS_PER_WORD > 0 {
            group(fraction % DIGITS_PER_WORD, &mut text);
        }
    }
    if overflows {
        return Err(BinlogError::malformed(
            "rows",
            "a DECIMAL with more digits than it has room for",
        ));
    }
    if negative {
        text.insert(0, b'-');
    }
    out.push_bytes(&text);
    Ok(())
}

/// Microseconds of a fraction of `digits` digits, big-endian in (digits + 1) / 2 bytes.
fn fraction_us(raw: &[u8]) -> u64 {
    be_uint(raw) * [1, 10_000, 100, 1][raw.len().min(3)]
}

/// TIME2 as signed microseconds. The value is one big-endian number, hours to the last fractional
/// digit, offset so that it sorts (`my_time_packed_from_binary`).
pub(crate) fn time2(raw: &[u8]) -> i64 {
    let fraction_bits = 8 * (raw.len().saturating_sub(3));
    let bits = 24 + fraction_bits;
    let packed = be_uint(raw).cast_signed() - (1i64 << (bits - 1));
    let magnitude = packed.unsigned_abs();
    let whole = magnitude >> fraction_bits;
    let fraction = magnitude & ((1 << fraction_bits) - 1);
    let fraction_us = fraction * [1, 10_000, 100, 1][(fraction_bits / 8).min(3)];
    let seconds = (whole >> 12 & 0x3ff) * 3600 + (whole >> 6 & 0x3f) * 60 + (whole & 0x3f);
    let us = (seconds * 1_000_000 + fraction_us).cast_signed();
    if packed < 0 { -us } else { us }
}

/// DATETIME2 in MySQL's packing with microseconds; see [`tributary_wire::ColumnKind::DateTime`].
pub(crate) fn datetime2(raw: &[u8]) -> u64 {
    let (whole, fraction) = raw.split_at(raw.len().min(5));
    let whole = be_uint(whole) & 0x7f_ffff_ffff;
    whole << 24 | fraction_us(fraction)
}

/// TIMESTAMP2 as microseconds since the epoch: unsigned seconds, for MariaDB goes to 2106.
pub(crate) fn timestamp2(raw: &[u8]) -> i64 {
    let (seconds, fraction) = raw.split_at(raw.len().min(4));
    (be_uint(seconds) * 1_000_000 + fraction_us(fraction)).cast_signed()
}

/// TIME before 5.6: hhmmss as a signed 24-bit number.
pub(crate) fn old_time(value: u64) -> i64 {
    let signed = (value << 40).cast_signed() >> 40;
    let magnitude = signed.abs();
    let seconds = magnitude / 10_000 * 3600 + magnitude / 100 % 100 * 60 + magnitude % 100;
    seconds * 1_000_000 * signed.signum()
}

/// DATETIME before 5.6: YYYYMMDDhhmmss as a number.
pub(crate) fn old_datetime(value: u64) -> u64 {
    let part = |divisor: u64, modulus: u64| value / divisor % modulus;
    let (year, month, day) = (value / 10_000_000_000, part(100_000_000, 100), part(1_000_000, 100));
    let (hour, minute, second) = (part(10_000, 100), part(100, 100), value % 100);
    (((year * 13 + month) << 5 | day) << 17 | hour << 12 | minute << 6 | second) << 24
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the server's own encoding of the literals, as `SHOW BINLOG EVENTS` with hex dumps shows.
    #[test]
    fn negative_times_keep_their_fraction() {
        // '-01:00:00.50' as TIME(2): 0x800000 - 0x001000 whole, minus 50 hundredths.
        let packed = (0x0080_0000_u64 << 8) - ((0x1000 << 8) + 50);
        let raw = &packed.to_be_bytes()[4..];
        assert_eq!(time2(raw), -3_600_500_000);
        // '-00:00:00.000001' as TIME(6).
        let packed = (0x0080_0000_u64 << 24) - 1;
        assert_eq!(time2(&packed.to_be_bytes()[2..]), -1);
        // '838:59:59' as TIME(0).
        let packed = 0x0080_0000_u64 + (838 << 12 | 59 << 6 | 59);
        assert_eq!(time2(&packed.to_be_bytes()[5..]), (838 * 3600 + 59 * 60 + 59) * 1_000_000);
    }

    #[test]
    fn timestamps_go_on_past_2038() {
        assert_eq!(timestamp2(&[0x80, 0, 0, 0]), 2_147_483_648_000_000);
        assert_eq!(timestamp2(&[0xff, 0xff, 0xff, 0xff, 99]), 4_294_967_295_990_000);
        assert_eq!(timestamp2(&[0xff, 0xff, 0xff, 0xfe, 0x0f, 0x42, 0x3f]), 4_294_967_294_999_999);
    }

    fn decimal_text(raw: &[u8], precision: u8, scale: u8) -> String {
        let mut out = ColumnBuffer::default();
        decimal(raw, precision, scale, &mut out).expect("decodes");
        String::from_utf8(out.encoded()[2..].to_vec()).expect("ASCII")
    }

    #[test]
    fn decimals_read_as_the_manual_lays_them_out() {
        // MySQL internals manual: 1234567890.1234 as DECIMAL(14,4) is 81 0D FB 38 D2 04 D2.
        let raw = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(decimal_bytes(14, 4), raw.len());
        assert_eq!(decimal_text(&raw, 14, 4), "1234567890.1234");
        let negative: Vec<u8> = raw.iter().map(|byte| !byte).collect();
        assert_eq!(decimal_text(&negative, 14, 4), "-1234567890.1234");
        assert_eq!(decimal_text(&[0x80, 0x05], 4, 4), "0.0005");
        assert_eq!(decimal_bytes(65, 30), 30);
    }
}
