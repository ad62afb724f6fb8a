//! MySQL's JSON documents: the text that a SELECT answers with, and what it says differently.
//!
//! A document may hold dates, DECIMALs and binary values; its text shows them as strings and numbers.
//! The log's reader carries them as typed scalars (`schemas/wire/batch.md`), and so does this: a number
//! is a DECIMAL where a DOUBLE is not printed so, and a string is a value of another type where
//! `JSON_SEARCH`, which finds strings alone, does not find it.

use std::collections::HashSet;
use std::fmt::Write;
use tributary_binlog::is_json_number;

/// Before what `JSON_SEARCH` found, and behind it. No JSON text begins with this byte.
const MARK: u8 = 1;
/// The servers take no deeper document.
const DEPTH_MAX: usize = 100;

/// What to select in place of a JSON column, `column` being its quoted name: where the text makes
/// another document than the column holds, the paths of its strings stand before it. A document too
/// large for that is a mark alone, which [`carried`] refuses.
pub(super) fn selection(column: &str) -> String {
    let again = format!("CAST(CAST({column} AS CHAR CHARACTER SET utf8mb4) AS JSON)");
    let mark = "_utf8mb4 X'01'";
    format!(
        "IF({column} IS NULL,NULL,COALESCE(IF({column}={again},{column},\
         CONCAT({mark},COALESCE(JSON_SEARCH({column},'all','%'),'[]'),{mark},{column})),{mark}))"
    )
}

/// The document on the wire; `None` for what is not an answer to [`selection`].
pub(super) fn carried(answer: &[u8]) -> Option<Vec<u8>> {
    let (strings, text) = match answer.strip_prefix(&[MARK]) {
        None => (None, answer),
        Some(marked) => {
            let end = marked.iter().position(|byte| *byte == MARK)?;
            (Some(paths(&marked[..end])?), &marked[end + 1..])
        }
    };
    let out = Vec::with_capacity(text.len());
    let mut walk = Walk { text, at: 0, out, strings, path: "$".to_owned() };
    walk.value(0)?;
    (walk.at == text.len()).then_some(walk.out)
}

/// What `JSON_SEARCH` found: one path, or an array of them.
fn paths(found: &[u8]) -> Option<HashSet<String>> {
    let found: Vec<String> = if found.starts_with(b"[") {
        serde_json::from_slice(found).ok()?
    } else {
        vec![serde_json::from_slice(found).ok()?]
    };
    found.iter().map(|path| canonical(path)).collect()
}

/// A path with every member's name in quotes: the server leaves them out around most.
fn canonical(path: &str) -> Option<String> {
    let mut rest = path.strip_prefix('$')?;
    let mut out = "$".to_owned();
    while let Some(leg) = rest.chars().next() {
        if leg == '[' {
            let end = rest.find(']')? + 1;
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        rest = rest.strip_prefix('.')?;
        if rest.starts_with('"') {
            let mut names = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let name = names.next()?.ok()?;
            rest = &rest[names.byte_offset()..];
            member(&mut out, &name);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            member(&mut out, &rest[..end]);
            rest = &rest[end..];
        }
    }
    Some(out)
}

/// Names are set apart by their length: nothing in them has to be escaped.
fn member(path: &mut String, name: &str) {
    let _ = write!(path, ".{}:{name}", name.len());
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// Where the document has strings, if not everywhere where its text has.
    strings: Option<HashSet<String>>,
    path: String,
}

// === impl Walk ===

impl<'a> Walk<'a> {
    fn value(&mut self, depth: usize) -> Option<()> {
        match *self.text.get(self.at)? {
            _ if depth > DEPTH_MAX => return None,
            b'{' => self.members(b'}', depth)?,
            b'[' => self.members(b']', depth)?,
            b'"' => {
                let string = self.string()?;
                let is_string =
                    self.strings.as_ref().is_none_or(|strings| strings.contains(&self.path));
                if is_string { self.out.extend(string) } else { self.typed(string)? }
            }
            b'-' | b'0'..=b'9' => {
                let digits = self.token(|byte| {
                    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
                });
                let digits = std::str::from_utf8(digits).ok()?;
                if is_json_number(digits) {
                    self.out.extend(digits.as_bytes());
                } else {
                    self.out.extend([b"\x01N", digits.as_bytes(), b"\x02"].concat());
                }
            }
            _ => {
                let word = self.token(|byte| byte.is_ascii_lowercase());
                matches!(word, b"true" | b"false" | b"null").then_some(())?;
                self.out.extend(word);
            }
        }
        Some(())
    }

    fn members(&mut self, end: u8, depth: usize) -> Option<()> {
        self.copy();
        for index in 0.. {
            self.between();
            if *self.text.get(self.at)? == end {
                break;
            }
            let parent = self.path.len();
            if end == b']' {
                let _ = write!(self.path, "[{index}]");
            } else {
                let name = self.string()?;
                self.out.extend(name);
                if self.strings.is_some() {
                    member(&mut self.path, &serde_json::from_slice::<String>(name).ok()?);
                }
                self.between();
            }
            self.value(depth + 1)?;
            self.path.truncate(parent);
        }
        self.copy();
        Some(())
    }

    /// A value that is shown as a string and is none.
    fn typed(&mut self, string: &[u8]) -> Option<()> {
        let text: String = serde_json::from_slice(string).ok()?;
        let begin = self.out.len();
        if let Some(opaque) = text.strip_prefix("base64:type") {
            let (code, bytes) = opaque.split_once(':')?;
            let mut out = format!("\u{1}O{}:", code.parse::<u8>().ok()?);
            for byte in base64(bytes)? {
                let _ = write!(out, "{byte:02x}");
            }
            self.out.extend(out.as_bytes());
        } else {
            let is_plain = |byte: u8| byte.is_ascii_digit() || b"-:. ".contains(&byte);
            text.bytes().all(is_plain).then_some(())?;
            let tag = match text.find(':') {
                None => b'D',
                Some(_) if text.contains(' ') => b'S',
                Some(_) => b'T',
            };
            self.out.extend([MARK, tag]);
            self.out.extend(text.as_bytes());
        }
        self.out.push(2);
        (self.out.len() > begin + 3).then_some(())
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let begin = self.at;
        (self.text.get(begin) == Some(&b'"')).then_some(())?;
        let mut at = begin + 1;
        loop {
            match *self.text.get(at)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        Some(&self.text[begin..=at])
    }

    fn token(&mut self, is_part: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.text[self.at..];
        let len = rest.iter().position(|byte| !is_part(*byte)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn copy(&mut self) {
        self.out.push(self.text[self.at]);
        self.at += 1;
    }

    /// What stands between values.
    fn between(&mut self) {
        let between = self.token(|byte| matches!(byte, b' ' | b',' | b':'));
        self.out.extend(between);
    }
}

/// As the server prints it: padded, with a line break after every 76 characters.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' | b'\n' => continue,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &str) -> Option<String> {
        carried(answer.as_bytes()).map(|out| String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn a_document_without_other_types_stays_as_it_is() {
        for document in [
            r#"{"a": [1, -2.5, 1e22, 18446744073709551615], "b": "1\"}", "c": {}}"#,
            "[]",
            "null",
            r#""2020-01-02""#,
        ] {
            assert_eq!(text(document).as_deref(), Some(document));
        }
    }

    #[test]
    fn a_number_that_no_double_is_printed_as_is_a_decimal() {
        let answer = "[1.50, 1.5, 18446744073709551616]";
        let wire = "[\u{1}N1.50\u{2}, 1.5, \u{1}N18446744073709551616\u{2}]";
        assert_eq!(text(answer).as_deref(), Some(wire));
    }

    #[test]
    fn what_looks_like_a_string_and_is_not_found_as_one_has_another_type() {
        let answer = "\u{1}[\"$.a\", \"$.\\\"b \\\\\\\"c\\\"[1]\"]\u{1}{\"a\": \"2020-01-02\", \
                      \"d\": \"-10:00:00.000000\", \"b \\\"c\": [\"2020-01-02\", \"x\", \
                      \"2020-01-02 00:00:00.000000\", \"base64:type15:AP8=\"]}";
        let wire = "{\"a\": \"2020-01-02\", \"d\": \u{1}T-10:00:00.000000\u{2}, \"b \\\"c\": \
                    [\u{1}D2020-01-02\u{2}, \"x\", \u{1}S2020-01-02 00:00:00.000000\u{2}, \
                    \u{1}O15:00ff\u{2}]}";
        assert_eq!(text(answer).as_deref(), Some(wire));
        assert_eq!(text("\u{1}[]\u{1}\"10:00:00\"").as_deref(), Some("\u{1}T10:00:00\u{2}"));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for answer in ["", "\u{1}", "[1", "[1] ", "\u{1}[]\u{1}\"x\"", "{1: 2}", "nul", "\"\\"] {
            assert_eq!(text(answer), None, "{answer}");
        }
        assert_eq!(text(&"[".repeat(1000)), None);
    }
}
