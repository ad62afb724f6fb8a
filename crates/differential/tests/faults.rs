//! Where the two decoders may differ: the known faults of `mysql-binlog-connector-rust` 0.3.3, each
//! with the condition under which it shows. Every other difference is an error.

use anyhow::{Context, Result, bail};
use mysql_binlog_connector_rust::column::column_value::ColumnValue as Theirs;
use mysql_binlog_connector_rust::column::json::json_binary::JsonBinary;
use rmpv::Value;
use serde_json::Value as Document;
use tributary_testkit::Flavour;
use tributary_wire::{ColumnKind, ColumnShape};

/// What the other decoder does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It has no unsigned integers: from the sign bit on, 2^width is missing.
    Unsigned,
    /// `read_int` extends the sign of an ENUM's number.
    EnumSign,
    /// `read_int` extends the sign of a SET's mask.
    SetSign,
    /// It adds 1900 to the year 0000.
    YearZero,
    /// It leaves out the zeros at the end of a BINARY(n), which the server does not log.
    BinaryPadding,
    /// It writes a DOUBLE inside a document without its point or exponent: the integer 1 for 1.0.
    JsonDouble,
}

/// The faults that must show on a server.
pub(crate) fn of(flavour: Flavour) -> Vec<Fault> {
    use Fault::*;
    let mut faults = vec![Unsigned, EnumSign, SetSign, YearZero, BinaryPadding];
    // MariaDB's JSON is text.
    if flavour == Flavour::MySql {
        faults.push(JsonDouble);
    }
    faults
}

/// `None` where both say the same; the known fault that explains the difference.
pub(crate) fn difference(
    column: &ColumnShape,
    ours: &Value,
    theirs: &Theirs,
) -> Result<Option<Fault>> {
    if same(column, ours, theirs)? {
        return Ok(None);
    }
    let fault = explain(column, ours, theirs);
    fault.map(Some).with_context(|| format!("ours {ours:?}, the other's {theirs:?}"))
}

fn explain(column: &ColumnShape, ours: &Value, theirs: &Theirs) -> Option<Fault> {
    use ColumnKind as K;
    let number = || ours.as_u64().map(i128::from);
    // The number with the sign bit of its last byte carried on, for each width it may have.
    let extended = |widths: &[u32], theirs: u64, bits: u32| {
        let number = ours.as_u64()?;
        let mask = u64::MAX >> (64 - bits);
        widths
            .iter()
            .any(|width| {
                let unused = 64 - width;
                number >> (width - 1) == 1
                    && ((number << unused).cast_signed() >> unused).cast_unsigned() & mask == theirs
            })
            .then_some(())
    };
    match (column.kind, theirs) {
        (K::Integer, theirs) if column.unsigned => {
            let (theirs, widths): (i128, &[u32]) = match theirs {
                Theirs::Tiny(value) => ((*value).into(), &[8]),
                Theirs::Short(value) => ((*value).into(), &[16]),
                Theirs::Long(value) => ((*value).into(), &[24, 32]),
                Theirs::LongLong(value) => ((*value).into(), &[64]),
                _ => return None,
            };
            let missing = number()? - theirs;
            (theirs < 0 && widths.iter().any(|width| missing == 1 << width))
                .then_some(Fault::Unsigned)
        }
        (K::Enum, Theirs::Enum(value)) => {
            extended(&[8, 16], (*value).into(), 32).map(|()| Fault::EnumSign)
        }
        (K::Set, Theirs::Set(value)) => {
            extended(&[8, 16, 24, 32], *value, 64).map(|()| Fault::SetSign)
        }
        (K::Json, Theirs::Json(bytes)) => {
            let (ours, theirs) = documents(ours, bytes).ok()?;
            is_same_but_for_doubles(&ours, &theirs).then_some(Fault::JsonDouble)
        }
        (K::Year, Theirs::Year(1900)) => (number()? == 0).then_some(Fault::YearZero),
        (K::Binary, Theirs::String(bytes)) => {
            let padding = ours.as_slice()?.strip_prefix(bytes.as_slice())?;
            let padded = !padding.is_empty() && padding.iter().all(|byte| *byte == 0);
            (padded && ours.as_slice()?.len() == usize::from(column.scale))
                .then_some(Fault::BinaryPadding)
        }
        _ => None,
    }
}

fn same(column: &ColumnShape, ours: &Value, theirs: &Theirs) -> Result<bool> {
    use ColumnKind as K;
    Ok(match (column.kind, theirs) {
        (_, Theirs::None) => ours.is_nil(),
        (K::Integer, Theirs::Tiny(value)) => ours.as_i64() == Some((*value).into()),
        (K::Integer, Theirs::Short(value)) => ours.as_i64() == Some((*value).into()),
        (K::Integer, Theirs::Long(value)) => ours.as_i64() == Some((*value).into()),
        (K::Integer, Theirs::LongLong(value)) => ours.as_i64() == Some(*value),
        (K::Float, Theirs::Float(value)) => {
            matches!(ours, Value::F32(ours) if ours.to_bits() == value.to_bits())
        }
        (K::Double, Theirs::Double(value)) => {
            matches!(ours, Value::F64(ours) if ours.to_bits() == value.to_bits())
        }
        (K::Decimal, Theirs::Decimal(text)) => ours.as_slice() == Some(text.as_bytes()),
        (K::Bit, Theirs::Bit(value)) | (K::Set, Theirs::Set(value)) => {
            ours.as_u64() == Some(*value)
        }
        (K::Enum, Theirs::Enum(value)) => ours.as_u64() == Some((*value).into()),
        (K::Year, Theirs::Year(value)) => ours.as_u64() == Some((*value).into()),
        (K::Date, Theirs::Date(text)) => ours.as_u64() == date(text),
        (K::Time, Theirs::Time(text)) => ours.as_i64() == time(text),
        (K::DateTime, Theirs::DateTime(text)) => ours.as_u64() == datetime(text),
        (K::Timestamp, Theirs::Timestamp(value)) => ours.as_i64() == Some(*value),
        (K::Text | K::Binary | K::Geometry, Theirs::String(bytes) | Theirs::Blob(bytes)) => {
            ours.as_slice() == Some(bytes)
        }
        (K::Json, Theirs::Json(bytes)) => {
            let (ours, theirs) = documents(ours, bytes)?;
            ours == theirs
        }
        (kind, _) => bail!("a {kind:?}, the other's is {theirs:?}"),
    })
}

/// Both as documents: the texts may differ in form.
fn documents(ours: &Value, theirs: &[u8]) -> Result<(Document, Document)> {
    let text = JsonBinary::parse_as_string(theirs)
        .map_err(|error| anyhow::anyhow!("the other decoder: {error:?}"))?;
    let theirs = serde_json::from_str(&text).with_context(|| format!("the other's {text}"))?;
    let ours = serde_json::from_slice(ours.as_slice().context("a document without bytes")?)?;
    Ok((ours, theirs))
}

fn is_same_but_for_doubles(ours: &Document, theirs: &Document) -> bool {
    match (ours, theirs) {
        (Document::Number(left), Document::Number(right)) => {
            left == right
                || left.is_f64()
                    && left.as_f64().map(f64::to_bits) == right.as_f64().map(f64::to_bits)
        }
        (Document::Array(left), Document::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| is_same_but_for_doubles(left, right))
        }
        (Document::Object(left), Document::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| {
                    right.get(key).is_some_and(|right| is_same_but_for_doubles(left, right))
                })
        }
        (left, right) => left == right,
    }
}

fn numbers(text: &str) -> Option<Vec<u64>> {
    text.split(['-', ' ', ':', '.']).map(|part| part.parse().ok()).collect()
}

/// `year << 9 | month << 5 | day`.
fn date(text: &str) -> Option<u64> {
    let [year, month, day] = numbers(text)?.try_into().ok()?;
    Some(year << 9 | month << 5 | day)
}

/// Signed microseconds.
fn time(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let [hour, minute, second, us] = numbers(text)?.try_into().ok()?;
    let us = ((hour * 60 + minute) * 60 + second) * 1_000_000 + us;
    Some(sign * i64::try_from(us).ok()?)
}

/// See [`ColumnKind::DateTime`].
fn datetime(text: &str) -> Option<u64> {
    let [year, month, day, hour, minute, second, us] = numbers(text)?.try_into().ok()?;
    let date = (year * 13 + month) << 5 | day;
    Some((date << 17 | hour << 12 | minute << 6 | second) << 24 | us)
}
