//! Whether a column of the target holds every value of a device's column as it is. Pure.
//!
//! A statement may make another column at the target than at the device: a mode, a default or a grammar that
//! differs is enough. The servers then bend values, some without a word: a time of day is cut off where a
//! DATETIME is written to a DATE. So what the log says of each column is compared with the target's, once
//! for each plan. A target that holds more is right: the union of devices is, and so may an operator's
//! column be. What the log does not tell is not asked.

use crate::merged::column::Type;
use crate::target::{Charsets, TargetColumn};
use tributary_wire::{ColumnKind, ColumnShape};

/// Bytes of the lengths of LONGTEXT and LONGBLOB.
const LONG: u8 = 4;
/// Character sets of which the target's may be any: their characters are in every other.
const COMMON: &str = "ascii";
/// Character sets that hold all characters of every other.
const UNIVERSAL: [&str; 5] = ["utf8mb4", "utf16", "utf16le", "utf32", "gb18030"];
/// The same without those beyond the first 65,536, which only the sets above and these have.
const BASIC: [&str; 3] = ["utf8mb3", "utf8", "ucs2"];

/// True when `target` holds every value of `column` as it is, as far as the log and the target tell.
/// `shared`: the table is the union of those of several devices, where a text column may say numbers and dates.
pub(crate) fn holds(
    column: &ColumnShape,
    target: &TargetColumn,
    charsets: &Charsets,
    shared: bool,
) -> bool {
    use ColumnKind as K;
    let Some(data) = &target.data else { return true };
    if let Type::Other(text) = data {
        return holds_other(column, text);
    }
    let said_by_text =
        matches!(column.kind, K::Integer | K::Decimal | K::Date | K::Time | K::DateTime);
    if shared && said_by_text && data.is_text() {
        return true;
    }
    let temporal = |word: &str| {
        matches!(data, Type::Temporal { word: found, digits }
            if found == word && *digits >= u32::from(column.scale))
    };
    match column.kind {
        K::Integer => holds_integer(column, data),
        K::Decimal => holds_decimal(column, data),
        K::Bit => matches!(data, Type::Bit(width) if *width >= u32::from(column.scale)),
        K::Year => temporal("year"),
        K::Date => temporal("date"),
        K::Time => temporal("time"),
        K::DateTime => temporal("datetime"),
        K::Timestamp => temporal("timestamp"),
        K::Text => holds_text(column, data, target, charsets),
        K::Binary => holds_binary(column, data, target),
        K::Enum | K::Set => {
            let wanted = if column.kind == K::Enum { "enum" } else { "set" };
            matches!(data, Type::Members { word, members }
                if word == wanted && members.len() >= column.size as usize)
        }
        // MariaDB's JSON is a LONGTEXT.
        K::Json => *data == Type::Text(LONG),
        K::Float | K::Double | K::Geometry | K::Vector => false,
    }
}

/// Types that [`Type::read`] leaves as words. One that is not known here was made by a statement that the
/// target has understood.
fn holds_other(column: &ColumnShape, text: &str) -> bool {
    use ColumnKind as K;
    const GEOMETRIES: [&str; 9] = [
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geomcollection",
        "geometrycollection",
    ];
    let word = &text[..text.find(['(', ' ']).unwrap_or(text.len())];
    let is_signed = !text.contains("unsigned");
    let of_bytes = |bytes: u16| {
        column.kind == K::Binary && matches!(column.scale, 0..=16) && column.scale == bytes
    };
    match word {
        "float" => column.kind == K::Float && (column.unsigned || is_signed),
        "double" => matches!(column.kind, K::Float | K::Double) && (column.unsigned || is_signed),
        "json" => matches!(column.kind, K::Json | K::Text),
        "uuid" | "inet6" => of_bytes(16),
        "inet4" => of_bytes(4),
        "vector" => column.kind == K::Vector,
        "enum" => column.kind == K::Enum,
        "set" => column.kind == K::Set,
        word if GEOMETRIES.contains(&word) => column.kind == K::Geometry,
        _ => true,
    }
}

fn holds_integer(column: &ColumnShape, data: &Type) -> bool {
    let Type::Integer { bytes, unsigned } = data else { return false };
    match (column.unsigned, unsigned) {
        (false, true) => false,
        (true, false) => u32::from(*bytes) > column.size,
        _ => u32::from(*bytes) >= column.size,
    }
}

fn holds_decimal(column: &ColumnShape, data: &Type) -> bool {
    let Type::Decimal { digits, scale, unsigned } = data else { return false };
    let fraction = u32::from(column.scale);
    *scale >= fraction
        && digits - scale.min(digits) >= column.size.saturating_sub(fraction)
        && (column.unsigned || !unsigned)
}

fn holds_text(
    column: &ColumnShape,
    data: &Type,
    target: &TargetColumn,
    charsets: &Charsets,
) -> bool {
    let is_char = column.scale > 0;
    match data {
        // A CHAR gives up the spaces at its end.
        Type::Char { fixed: true, length } if !is_char && *length > 0 => return false,
        Type::Char { .. } | Type::Text(_) => {}
        _ => return false,
    }
    let (Some(found), Some(own)) = (&target.charset, charsets.charset(column.collation)) else {
        return true;
    };
    if is_same_charset(own, found) {
        return target.octets >= u64::from(column.size);
    }
    if !takes_charset(own, found) {
        return false;
    }
    match data {
        Type::Char { length, .. } => {
            u64::from(*length) >= u64::from(column.size) / u64::from(bytes_max(own))
        }
        _ => target.octets >= u64::from(column.size),
    }
}

fn holds_binary(column: &ColumnShape, data: &Type, target: &TargetColumn) -> bool {
    match data {
        // A BINARY is filled up to its width.
        Type::Binary { fixed: true, length } => {
            *length == u32::from(column.scale) || column.size == 0
        }
        Type::Binary { fixed: false, .. } | Type::Blob(_) => {
            target.octets >= u64::from(column.size)
        }
        _ => false,
    }
}

fn is_same_charset(a: &str, b: &str) -> bool {
    let name =
        |charset: &str| if charset == "utf8" { "utf8mb3".to_owned() } else { charset.to_owned() };
    name(a) == name(b)
}

/// True when a text column of character set `target` takes every character of `own`.
fn takes_charset(own: &str, target: &str) -> bool {
    own == COMMON
        || UNIVERSAL.contains(&target)
        || (BASIC.contains(&target) && !UNIVERSAL.contains(&own))
}

/// The most bytes of a character.
fn bytes_max(charset: &str) -> u32 {
    match charset {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030" => 4,
        "utf8mb3" | "utf8" | "ujis" | "eucjpms" => 3,
        "gbk" | "gb2312" | "big5" | "sjis" | "cp932" | "euckr" | "ucs2" => 2,
        _ => 1,
    }
}

/// The column's type, as far as the log tells it, for a person.
pub(crate) fn described(column: &ColumnShape, charsets: &Charsets) -> String {
    use ColumnKind as K;
    let sign = if column.unsigned { " unsigned" } else { "" };
    let digits = |word: &str| match column.scale {
        0 => word.to_owned(),
        digits => format!("{word}({digits})"),
    };
    let bytes = |word: &str| match column.size {
        0 => word.to_owned(),
        bytes => format!("{word} of {bytes} bytes"),
    };
    match column.kind {
        K::Integer => bytes(&format!("integer{sign}")),
        K::Float => format!("float{sign}"),
        K::Double => format!("double{sign}"),
        K::Decimal => match column.size {
            0 => format!("decimal with {} digits after the point{sign}", column.scale),
            size => format!("decimal({size},{}){sign}", column.scale),
        },
        K::Bit => digits("bit"),
        K::Year => "year".to_owned(),
        K::Date => "date".to_owned(),
        K::Time => digits("time"),
        K::DateTime => digits("datetime"),
        K::Timestamp => digits("timestamp"),
        K::Text => {
            let word = bytes(if column.scale > 0 { "char" } else { "text" });
            let charset = charsets.charset(column.collation);
            charset.map_or_else(|| word.clone(), |charset| format!("{word} in {charset}"))
        }
        K::Binary if column.scale > 0 => digits("binary"),
        K::Binary => bytes("binary string"),
        K::Enum => format!("enum of {} members", column.size),
        K::Set => format!("set of {} members", column.size),
        K::Json => "json".to_owned(),
        K::Geometry => "geometry".to_owned(),
        K::Vector => "vector".to_owned(),
    }
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
