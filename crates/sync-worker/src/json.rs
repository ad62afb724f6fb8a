//! JSON documents that hold more than JSON can say: dates, DECIMALs and binary values. Pure.
//!
//! In a document's text such a value stands between the bytes 1 and 2, which JSON has nowhere: a letter
//! for its type, then the value as MySQL prints it (an opaque one as its type code, a colon, and
//! hexadecimal digits). MySQL gets an expression that makes the same document with the same types;
//! elsewhere JSON is text, and gets what MySQL would print.

use crate::literal::quoted;

/// Before a value.
const OPEN: u8 = 1;
/// Behind it.
const CLOSE: u8 = 2;
/// The servers take no deeper document.
const DEPTH_MAX: usize = 100;

/// True when the document holds such a value.
pub(crate) fn is_typed(document: &[u8]) -> bool {
    document.contains(&OPEN)
}

/// Appends an expression of MySQL that makes the document; `None` when it is not one. Binary values get
/// the type code of a VARBINARY, the nearest that an expression has.
pub(crate) fn expression(out: &mut Vec<u8>, document: &[u8]) -> Option<()> {
    let mut reader = Reader { text: document, at: 0 };
    reader.blank();
    // A column takes no other type than JSON: a value that is the whole document is wrapped.
    let is_bare = reader.peek() == Some(OPEN);
    out.extend_from_slice(if is_bare { b"JSON_EXTRACT(JSON_ARRAY(" } else { b"" });
    write_value(out, &mut reader, 0)?;
    out.extend_from_slice(if is_bare { b"),_utf8mb4'$[0]')" } else { b"" });
    reader.blank();
    (reader.at == document.len()).then_some(())
}

/// Appends the document as text that MySQL would print it as; `None` when a value in it is not one.
pub(crate) fn plain(document: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(document.len());
    let mut reader = Reader { text: document, at: 0 };
    while let Some(byte) = reader.peek() {
        if byte != OPEN {
            out.push(byte);
            reader.at += 1;
            continue;
        }
        match reader.typed()? {
            Typed::Decimal(digits) => out.extend_from_slice(digits),
            Typed::Date(text) | Typed::Time(text) | Typed::DateTime(text) => {
                out.push(b'"');
                out.extend_from_slice(text);
                out.push(b'"');
            }
            Typed::Opaque(code, bytes) => {
                out.extend_from_slice(format!("\"base64:type{code}:").as_bytes());
                base64(&mut out, &bytes);
                out.push(b'"');
            }
        }
    }
    Some(out)
}

/// A value that JSON has no type for.
#[derive(Debug, PartialEq, Eq)]
enum Typed<'a> {
    Decimal(&'a [u8]),
    Date(&'a [u8]),
    Time(&'a [u8]),
    DateTime(&'a [u8]),
    Opaque(u8, Vec<u8>),
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

fn write_value(out: &mut Vec<u8>, reader: &mut Reader<'_>, depth: usize) -> Option<()> {
    reader.blank();
    let start = reader.at;
    reader.skip_value(depth)?;
    let text = &reader.text[start..reader.at];
    if !is_typed(text) {
        out.extend_from_slice(b"CAST(_utf8mb4");
        quoted(out, text);
        out.extend_from_slice(b" AS JSON)");
        return Some(());
    }
    let mut inner = Reader { text, at: 0 };
    match text.first()? {
        b'{' => write_members(out, &mut inner, b'}', b"JSON_OBJECT(", depth),
        b'[' => write_members(out, &mut inner, b']', b"JSON_ARRAY(", depth),
        _ => write_typed(out, &inner.typed()?),
    }
}

/// The members of an object or an array that is known to be whole.
fn write_members(
    out: &mut Vec<u8>,
    reader: &mut Reader<'_>,
    end: u8,
    function: &[u8],
    depth: usize,
) -> Option<()> {
    out.extend_from_slice(function);
    reader.at += 1;
    loop {
        reader.blank();
        if end == b'}' {
            let start = reader.at;
            reader.skip_string()?;
            let name: String = serde_json::from_slice(&reader.text[start..reader.at]).ok()?;
            out.extend_from_slice(b"_utf8mb4");
            quoted(out, name.as_bytes());
            out.push(b',');
            reader.blank();
            reader.expect(b':')?;
        }
        write_value(out, reader, depth + 1)?;
        reader.blank();
        match reader.next()? {
            b',' => out.push(b','),
            byte if byte == end => break,
            _ => return None,
        }
    }
    out.push(b')');
    Some(())
}

/// Literals, and not casts, of dates: one that is none is an error, where a cast would give NULL.
fn write_typed(out: &mut Vec<u8>, typed: &Typed<'_>) -> Option<()> {
    let (head, text, tail): (&str, &[u8], String) = match typed {
        Typed::Decimal(digits) => {
            let scale = digits.iter().rev().position(|byte| *byte == b'.').unwrap_or(0);
            let digits_max = digits.iter().filter(|byte| byte.is_ascii_digit()).count();
            ("CAST(", digits, format!(" AS DECIMAL({digits_max},{scale}))"))
        }
        Typed::Date(text) => ("DATE", text, String::new()),
        Typed::Time(text) => ("TIME", text, String::new()),
        Typed::DateTime(text) => ("TIMESTAMP", text, String::new()),
        Typed::Opaque(_, bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            out.extend_from_slice(format!("x'{hex}'").as_bytes());
            return Some(());
        }
    };
    out.extend_from_slice(head.as_bytes());
    quoted(out, text);
    out.extend_from_slice(tail.as_bytes());
    Some(())
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Passes a value. What lies inside is looked at only as far as it must to find its end: the server
    /// reads it properly.
    fn skip_value(&mut self, depth: usize) -> Option<()> {
        let mut open = 0usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                OPEN => _ = self.typed()?,
                b'{' | b'[' => {
                    open += 1;
                    self.at += 1;
                    if depth + open > DEPTH_MAX {
                        return None;
                    }
                }
                b'}' | b']' => {
                    open = open.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' if open > 0 => self.at += 1,
                byte if is_scalar(byte) => {
                    while self.peek().is_some_and(is_scalar) {
                        self.at += 1;
                    }
                }
                _ => return None,
            }
            if open == 0 {
                return Some(());
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => _ = self.next()?,
                byte if byte < b' ' => return None,
                _ => {}
            }
        }
    }

    fn typed(&mut self) -> Option<Typed<'a>> {
        self.expect(OPEN)?;
        let tag = self.next()?;
        let start = self.at;
        while self.next()? != CLOSE {}
        let text = &self.text[start..self.at - 1];
        let is_time = |text: &[u8]| {
            !text.is_empty()
                && text.len() <= 32
                && text.iter().all(|byte| byte.is_ascii_digit() || b"-:. ".contains(byte))
        };
        match tag {
            b'N' if is_decimal(text) => Some(Typed::Decimal(text)),
            b'D' if is_time(text) => Some(Typed::Date(text)),
            b'T' if is_time(text) => Some(Typed::Time(text)),
            // A TIMESTAMP prints the same as a DATETIME, and no expression but a column makes one.
            b'S' | b'Z' if is_time(text) => Some(Typed::DateTime(text)),
            b'O' => opaque(text),
            _ => None,
        }
    }
}

fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

/// At most 65 digits and one point, as a DECIMAL has.
fn is_decimal(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let points = digits.iter().filter(|byte| **byte == b'.').count();
    points <= 1
        && digits.first().is_some_and(u8::is_ascii_digit)
        && digits.last().is_some_and(u8::is_ascii_digit)
        && digits.len() - points <= 65
        && digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

fn opaque<'a>(text: &[u8]) -> Option<Typed<'a>> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let code = std::str::from_utf8(&text[..colon]).ok()?.parse().ok()?;
    let pairs = text[colon + 1..].chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_hex = |pair: &[u8]| pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
    let bytes = pairs.map(|pair| byte(pair).filter(|_| is_hex(pair))).collect::<Option<_>>()?;
    Some(Typed::Opaque(code, bytes))
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4u32 {
            let value = bits >> (18 - 6 * digit) & 63;
            let is_filled = digit as usize <= group.len();
            out.push(if is_filled { DIGITS[value as usize] } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made(document: &str) -> Option<String> {
        let mut out = Vec::new();
        expression(&mut out, document.as_bytes())?;
        Some(String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn a_document_becomes_an_expression_around_its_typed_values() {
        let document =
            "{\"a \\\" '\": [\u{1}N-1.10\u{2}, {\"x\": 1}], \"d\": \u{1}D2024-01-02\u{2}}";
        assert_eq!(
            made(document).expect("a document"),
            "JSON_OBJECT(_utf8mb4'a \\\" \\'',JSON_ARRAY(CAST('-1.10' AS DECIMAL(3,2)),\
             CAST(_utf8mb4'{\\\"x\\\": 1}' AS JSON)),_utf8mb4'd',DATE'2024-01-02')"
        );
        let bare = made("\u{1}O15:00fF\u{2}").expect("a document");
        assert_eq!(bare, "JSON_EXTRACT(JSON_ARRAY(x'00ff'),_utf8mb4'$[0]')");
    }

    #[test]
    fn a_document_becomes_text_as_mysql_prints_it() {
        let document = "[\u{1}N1.10\u{2}, \u{1}T-01:02:03.000000\u{2}, \u{1}O252:61\u{2}]";
        let text = plain(document.as_bytes()).expect("a document");
        let wanted = "[1.10, \"-01:02:03.000000\", \"base64:type252:YQ==\"]";
        assert_eq!(String::from_utf8(text).expect("UTF-8"), wanted);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let deep = format!("{}\u{1}N1\u{2}{}", "[".repeat(101), "]".repeat(101));
        for bad in [
            "",
            "\u{1}",
            "\u{1}N1",
            "\u{1}N1;DROP\u{2}",
            "\u{1}X1\u{2}",
            "\u{1}O15:0\u{2}",
            "\u{1}O15:+1\u{2}",
            "\u{1}O999:00\u{2}",
            "\u{1}D2024-01-01'\u{2}",
            "[\u{1}N1\u{2}",
            "[\u{1}N1\u{2}]]",
            "{\u{1}N1\u{2}: 1}",
            "{\"a\": \u{1}N1\u{2},}",
            "[\u{1}N1.\u{2}]",
            "\"\u{1}N1\u{2}\"",
            &deep,
        ] {
            assert_eq!(made(bad), None, "{bad:?}");
        }
        let deepest = format!("{}\u{1}N1\u{2}{}", "[".repeat(100), "]".repeat(100));
        assert!(made(&deepest).is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(document in prop::collection::vec(
            prop_oneof![Just(OPEN), Just(CLOSE), prop::sample::select(b"{}[]\",:\\NDTSZO0 ".to_vec()), any::<u8>()],
            0..80,
        )) {
            let _ = (expression(&mut Vec::new(), &document), plain(&document));
        }
    }
}
