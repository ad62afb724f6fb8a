//! Types of columns: which one holds which, and the least that holds two. Pure.

/// What a column's type is, as far as it decides which values fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// TINYINT to BIGINT.
    Integer {
        /// Its width.
        bytes: u8,
        /// It holds no negative numbers.
        unsigned: bool,
    },
    /// DECIMAL.
    Decimal {
        /// All of its digits.
        digits: u32,
        /// Those after the point.
        scale: u32,
        /// It holds no negative numbers.
        unsigned: bool,
    },
    /// BIT, with its width.
    Bit(u32),
    /// DATE, TIME, DATETIME, TIMESTAMP or YEAR.
    Temporal {
        /// Which.
        word: String,
        /// Digits of the fraction of a second.
        digits: u32,
    },
    /// CHAR or VARCHAR.
    Char {
        /// Its length in characters.
        length: u32,
        /// CHAR.
        fixed: bool,
    },
    /// TINYTEXT to LONGTEXT, by the bytes of its length.
    Text(u8),
    /// BINARY or VARBINARY.
    Binary {
        /// Its length in bytes.
        length: u32,
        /// BINARY.
        fixed: bool,
    },
    /// TINYBLOB to LONGBLOB, by the bytes of its length.
    Blob(u8),
    /// ENUM or SET: values are numbers of members.
    Members {
        /// Which.
        word: String,
        /// The members, each as the server quotes it.
        members: Vec<String>,
    },
    /// Any other holds only its like.
    Other(String),
}

const INTEGERS: [(&str, u8); 5] =
    [("tinyint", 1), ("smallint", 2), ("mediumint", 3), ("int", 4), ("bigint", 8)];
const TEXTS: [&str; 4] = ["tinytext", "text", "mediumtext", "longtext"];
const BLOBS: [&str; 4] = ["tinyblob", "blob", "mediumblob", "longblob"];
const TEMPORALS: [&str; 5] = ["date", "time", "datetime", "timestamp", "year"];
/// VARCHAR and VARBINARY are no longer than a row, 65535 bytes: TEXT and BLOB hold them.
const ROW: u8 = 2;
/// The most digits of a DECIMAL, and the most after its point (`decimal.h`).
const DECIMAL_MAX: (u32, u32) = (65, 30);

// === impl Type ===

impl Type {
    /// Reads what `information_schema.columns.column_type` says.
    pub fn read(column_type: &str) -> Self {
        let text = stored_plainly(column_type);
        let other = || Self::Other(text.to_owned());
        let (word, rest) = text.split_at(text.find(['(', ' ']).unwrap_or(text.len()));
        let unsigned = rest.ends_with("unsigned") || rest.contains(" unsigned ");
        let inner = rest.strip_prefix('(').and_then(|rest| rest.rsplit_once(')'));
        let numbers: Vec<u32> = inner.map_or_else(Vec::new, |(inner, _)| {
            inner.split(',').map_while(|number| number.trim().parse().ok()).collect()
        });
        if let Some((_, bytes)) = INTEGERS.iter().find(|(name, _)| *name == word) {
            return Self::Integer { bytes: *bytes, unsigned };
        }
        if let Some(at) = TEXTS.iter().position(|name| *name == word) {
            return Self::Text(u8::try_from(at).unwrap_or(3) + 1);
        }
        if let Some(at) = BLOBS.iter().position(|name| *name == word) {
            return Self::Blob(u8::try_from(at).unwrap_or(3) + 1);
        }
        if TEMPORALS.contains(&word) {
            let digits = if word == "year" { 0 } else { numbers.first().copied().unwrap_or(0) };
            return Self::Temporal { word: word.to_owned(), digits };
        }
        match (word, &numbers[..]) {
            ("decimal", [digits, scale]) => {
                Self::Decimal { digits: *digits, scale: *scale, unsigned }
            }
            ("bit", [width]) => Self::Bit(*width),
            ("char", [length]) => Self::Char { length: *length, fixed: true },
            ("varchar", [length]) => Self::Char { length: *length, fixed: false },
            ("binary", [length]) => Self::Binary { length: *length, fixed: true },
            ("varbinary", [length]) => Self::Binary { length: *length, fixed: false },
            ("enum" | "set", _) => match inner.and_then(|(inner, _)| members(inner)) {
                Some(members) => Self::Members { word: word.to_owned(), members },
                None => other(),
            },
            _ => other(),
        }
    }

    /// As it is written in a definition.
    pub fn sql(&self) -> String {
        let sign = |unsigned: &bool| if *unsigned { " unsigned" } else { "" };
        let tier = |names: [&str; 4], tier: u8| names[usize::from(tier.clamp(1, 4)) - 1].to_owned();
        match self {
            Self::Integer { bytes, unsigned } => {
                let name = INTEGERS.iter().find(|(_, of)| of == bytes).map_or("bigint", |(n, _)| n);
                format!("{name}{}", sign(unsigned))
            }
            Self::Decimal { digits, scale, unsigned } => {
                format!("decimal({digits},{scale}){}", sign(unsigned))
            }
            Self::Bit(width) => format!("bit({width})"),
            Self::Temporal { word, digits: 0 } => word.clone(),
            Self::Temporal { word, digits } => format!("{word}({digits})"),
            Self::Char { length, fixed: true } => format!("char({length})"),
            Self::Char { length, fixed: false } => format!("varchar({length})"),
            Self::Text(of) => tier(TEXTS, *of),
            Self::Binary { length, fixed: true } => format!("binary({length})"),
            Self::Binary { length, fixed: false } => format!("varbinary({length})"),
            Self::Blob(of) => tier(BLOBS, *of),
            Self::Members { word, members } => format!("{word}({})", members.join(",")),
            Self::Other(text) => text.clone(),
        }
    }

    /// The least type that holds the values of both as they are; `None` when there is none for certain.
    pub fn join(&self, other: &Self) -> Option<Self> {
        use Type::{Binary, Bit, Blob, Char, Decimal, Integer, Members, Temporal, Text};
        Some(match (self, other) {
            _ if self == other => self.clone(),
            (Integer { bytes: a, unsigned: x }, Integer { bytes: b, unsigned: y }) => {
                integer((*a, *x), (*b, *y))?
            }
            (
                Decimal { digits: a, scale: p, unsigned: x },
                Decimal { digits: b, scale: q, unsigned: y },
            ) => {
                let scale = *p.max(q);
                let digits = a.saturating_sub(*p).max(b.saturating_sub(*q)) + scale;
                let fits = digits <= DECIMAL_MAX.0 && scale <= DECIMAL_MAX.1;
                return fits.then_some(Decimal { digits, scale, unsigned: *x && *y });
            }
            (Bit(a), Bit(b)) => Bit(*a.max(b)),
            (Temporal { word, digits: a }, Temporal { word: its, digits: b }) if word == its => {
                Temporal { word: word.clone(), digits: *a.max(b) }
            }
            (Char { length: a, fixed: x }, Char { length: b, fixed: y }) => {
                Char { length: *a.max(b), fixed: *x && *y }
            }
            (Char { .. }, Text(of)) | (Text(of), Char { .. }) => Text(ROW.max(*of)),
            (Text(a), Text(b)) => Text(*a.max(b)),
            // A longer BINARY would fill a shorter one's values up.
            (Binary { length: a, .. }, Binary { length: b, .. }) => {
                Binary { length: *a.max(b), fixed: false }
            }
            (Binary { .. }, Blob(of)) | (Blob(of), Binary { .. }) => Blob(ROW.max(*of)),
            (Blob(a), Blob(b)) => Blob(*a.max(b)),
            // The numbers stay the same only where members were added behind the others.
            (Members { word, members: a }, Members { word: its, members: b }) if word == its => {
                let (long, short) = if a.len() > b.len() { (a, b) } else { (b, a) };
                let members = long.starts_with(short).then(|| long.clone())?;
                Members { word: word.clone(), members }
            }
            _ => return None,
        })
    }

    /// True for types whose values are written as text that says all of them, so that a text column may
    /// hold them where someone has decided so. The text of a TIMESTAMP depends on the session's time zone.
    pub fn is_said_by_text(&self) -> bool {
        match self {
            Self::Integer { .. } | Self::Decimal { .. } => true,
            // A YEAR takes '0' for 2000.
            Self::Temporal { word, .. } => word != "timestamp" && word != "year",
            _ => false,
        }
    }

    /// True when a value is the same in both, in every expression: only how much they hold differs.
    pub fn reads_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Integer { .. }, Self::Integer { .. }) => true,
            (Self::Decimal { scale: a, .. }, Self::Decimal { scale: b, .. }) => a == b,
            (Self::Members { word: a, .. }, Self::Members { word: b, .. }) => a == b,
            (Self::Blob(_) | Self::Binary { fixed: false, .. }, Self::Blob(_))
            | (Self::Blob(_), Self::Binary { fixed: false, .. })
            | (Self::Binary { fixed: false, .. }, Self::Binary { fixed: false, .. }) => true,
            _ => self == other || (self.is_text() && other.is_text()),
        }
    }

    /// A text of no fixed length.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Char { fixed: false, .. } | Self::Text(_))
    }
}

/// Without the comment in which MariaDB says COMPRESSED: how it is stored, not what.
fn stored_plainly(column_type: &str) -> &str {
    match column_type.strip_suffix("*/").and_then(|text| text.rsplit_once(" /*")) {
        Some((text, _)) => text,
        None => column_type,
    }
}

/// Both signs need a signed type that is wider than the unsigned one.
fn integer((a, x): (u8, bool), (b, y): (u8, bool)) -> Option<Type> {
    if x == y {
        return Some(Type::Integer { bytes: a.max(b), unsigned: x });
    }
    let (signed, unsigned) = if x { (b, a) } else { (a, b) };
    let wide = INTEGERS.iter().map(|(_, bytes)| *bytes).find(|bytes| *bytes > unsigned)?;
    Some(Type::Integer { bytes: signed.max(wide), unsigned: false })
}

/// `'a','b''c'`, divided at the commas between the quotes.
fn members(list: &str) -> Option<Vec<String>> {
    let mut members = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let mut end = 1;
        rest.strip_prefix('\'')?;
        loop {
            end += rest[end..].find('\'')? + 1;
            if !rest[end..].starts_with('\'') {
                break;
            }
            end += 1;
        }
        members.push(rest[..end].to_owned());
        rest = &rest[end..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some(members)
}

#[cfg(test)]
#[path = "column_tests.rs"]
mod tests;
