//! A key as SQL that compares it exactly as the server orders it.

use super::columns::Columns;
use std::fmt::Write;
use tributary_wire::{Cell, ColumnKind};

/// The conditions whose answers, one after another, are the rows behind a key in key order: for
/// (a, b, c) first those with the same a and b, then those with the same a, then the rest. Each is one
/// range of the index. `None` for a key that does not fit the columns.
pub(crate) fn behind(columns: &Columns, key: &[u8]) -> Option<Vec<String>> {
    let names = columns.key_names();
    let literals = literals(columns, key)?;
    let conditions = (0..names.len()).rev().map(|last| {
        let mut condition = String::new();
        for (name, literal) in names.iter().zip(&literals).take(last) {
            let _ = write!(condition, "{name} = {literal} AND ");
        }
        let _ = write!(condition, "{} > {}", names[last], literals[last]);
        condition
    });
    Some(conditions.collect())
}

fn literals(columns: &Columns, key: &[u8]) -> Option<Vec<String>> {
    let cells = tributary_wire::cells(key).ok()?;
    let shape = &columns.shape;
    if cells.len() != shape.primary_key.len() {
        return None;
    }
    let kinds = shape.primary_key.iter().map(|&at| shape.columns[usize::from(at)].kind);
    let parts = cells.into_iter().zip(kinds).zip(&columns.key_text);
    parts.map(|((cell, kind), text)| literal(cell, kind, text.as_ref(), key)).collect()
}

fn literal(
    cell: Cell,
    kind: ColumnKind,
    text: Option<&(String, String)>,
    key: &[u8],
) -> Option<String> {
    let number = match cell {
        Cell::Int(value) => Some(i128::from(value)),
        Cell::UInt(value) => Some(i128::from(value)),
        _ => None,
    };
    let bytes = match cell {
        Cell::Bytes { start, len } => key.get(start as usize..start as usize + len as usize),
        _ => None,
    };
    Some(match kind {
        ColumnKind::Integer | ColumnKind::Bit | ColumnKind::Year => number?.to_string(),
        ColumnKind::Decimal => {
            let digits = bytes?;
            let plain = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
            digits.iter().all(plain).then(|| String::from_utf8_lossy(digits).into_owned())?
        }
        ColumnKind::Date => {
            let value = number?;
            format!("'{:04}-{:02}-{:02}'", value >> 9, value >> 5 & 15, value & 31)
        }
        ColumnKind::DateTime => datetime(number?),
        ColumnKind::Time => time(number?),
        ColumnKind::Timestamp => timestamp(number?),
        ColumnKind::Text => {
            let (charset, collation) = text?;
            format!("_{charset} {} COLLATE {collation}", hex(bytes?))
        }
        ColumnKind::Binary => hex(bytes?),
        _ => return None,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("X'".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }) + "'"
}

fn datetime(value: i128) -> String {
    let (micros, value) = (value & 0xff_ffff, value >> 24);
    let (date, time) = (value >> 17, value & 0x1_ffff);
    let (months, day) = (date >> 5, date & 31);
    format!(
        "'{:04}-{:02}-{day:02} {:02}:{:02}:{:02}.{micros:06}'",
        months / 13,
        months % 13,
        time >> 12,
        time >> 6 & 63,
        time & 63
    )
}

fn time(micros: i128) -> String {
    let (sign, micros) = if micros < 0 { ("-", -micros) } else { ("", micros) };
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("'{sign}{:02}:{:02}:{seconds:02}.{micros:06}'", minutes / 60, minutes % 60)
}

/// In UTC, which is the session's time zone.
fn timestamp(micros: i128) -> String {
    if micros == 0 {
        return "'0000-00-00 00:00:00'".to_owned();
    }
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!(
        "'{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{micros:06}'",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// The date so many days after 1970-01-01 (Howard Hinnant, `civil_from_days`).
fn civil(days: i128) -> (i128, i128, i128) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i128::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_server_reads_them() {
        assert_eq!(timestamp(1_709_208_000_000_007), "'2024-02-29 12:00:00.000007'");
        assert_eq!(time(-3_020_399_000_001), "'-838:59:59.000001'");
        let packed = ((2024 * 13 + 2) << 5 | 29) << 17 | 23 << 12 | 59 << 6 | 58;
        assert_eq!(datetime(packed << 24 | 999_999), "'2024-02-29 23:59:58.999999'");
        assert_eq!(datetime(0), "'0000-00-00 00:00:00.000000'");
    }
}
