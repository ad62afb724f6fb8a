//! The text of a statement: turned into UTF-8, and what its strings hold.

use crate::SqlMode;
use crate::charset::{self, Charset};
use crate::token::{Token, TokenKind, Tokenizer};
use std::borrow::Cow;

/// In the place of a byte that is no character. It is in no UTF-8.
const DAMAGED: u8 = 0xff;

/// The statement in UTF-8. `collation` is the number of the session's `character_set_client`, as the log has
/// it.
///
/// Blanks beyond ASCII become blanks. A string that is not converted, because it says itself what its bytes are
/// (`_gbk'…'`), is written as those bytes, in hexadecimal. Bytes that are no characters, and characters that would
/// not come back as the same bytes, become bytes that are no UTF-8: within comments they do not matter, anywhere
/// else the statement is not understood.
///
/// `None` when the character set is none that a client may speak, and the statement is not ASCII.
pub fn utf8(sql: &[u8], collation: u16, mode: SqlMode) -> Option<Cow<'_, [u8]>> {
    if sql.is_ascii() && means_ascii(sql, collation) {
        return Some(Cow::Borrowed(sql));
    }
    let charset = charset::of(collation)?;
    if let Charset::Utf8 { longest: 4 } = charset {
        return Some(Cow::Borrowed(sql));
    }
    let text = characters(sql, charset);
    if charset.is_utf8() {
        return Some(Cow::Owned(text));
    }
    Some(Cow::Owned(tokens(&text, sql, charset, mode)))
}

/// The statement, which is UTF-8, of a device of MySQL: without the comments that MariaDB would execute. (What a
/// server does not execute of its own it leaves in its log as an ordinary comment.)
pub fn of_mysql(sql: Cow<'_, [u8]>, mode: SqlMode) -> Cow<'_, [u8]> {
    const MARK: &[u8] = b"/*M!";
    if !sql.windows(MARK.len()).any(|part| part == MARK) {
        return sql;
    }
    let mut out = Vec::with_capacity(sql.len());
    for Token { kind, span } in Tokenizer::new(&sql, mode).of_mysql() {
        match kind {
            TokenKind::Comment => out.push(b' '),
            _ => out.extend_from_slice(sql.get(span).unwrap_or_default()),
        }
    }
    Cow::Owned(out)
}

/// True unless bytes of it are something else than ASCII in this character set: in swe7 some are letters, in sjis
/// a backslash does not come back as itself.
fn means_ascii(sql: &[u8], collation: u16) -> bool {
    let other: &[u8] = match collation {
        10 | 82 | 1034 | 1106 => b"@[\\]^`{|}~",
        13 | 88 | 1037 | 1112 => b"\\",
        _ => return true,
    };
    !sql.iter().any(|byte| other.contains(byte))
}

fn characters(sql: &[u8], charset: Charset) -> Vec<u8> {
    let mut text = Vec::with_capacity(sql.len() + sql.len() / 2);
    let mut rest = sql;
    while !rest.is_empty() {
        let (found, length) = charset.first(rest);
        push(&mut text, found);
        rest = rest.get(length..).unwrap_or_default();
    }
    text
}

fn push(text: &mut Vec<u8>, found: Option<char>) {
    match found {
        Some(c) => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => text.push(DAMAGED),
    }
}

/// `text` token by token, `sql` being the same in the client's character set.
fn tokens(text: &[u8], sql: &[u8], charset: Charset, mode: SqlMode) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut source = Source { sql, charset, at: 0, written: 0 };
    // What the string that may follow is made of, where something says so.
    let (mut introducer, mut is_hexadecimal) = (false, false);
    for Token { kind, span } in Tokenizer::new(text, mode) {
        let bytes = text.get(span.clone()).unwrap_or_default();
        match kind {
            TokenKind::Text if !bytes.is_ascii() && is_national(bytes) => {
                // The server takes such bytes for UTF-8, whatever the client speaks.
                out.push(DAMAGED);
            }
            TokenKind::Text if !bytes.is_ascii() && introducer => {
                let raw = source.bytes(span.start, span.end);
                hexadecimal(&mut out, &value(raw, mode, |text| charset.first(text).1));
            }
            // It would go on with the string before, which is none any more.
            TokenKind::Text if is_hexadecimal => out.push(DAMAGED),
            TokenKind::Text if charset.refuses_backslash() && bytes.contains(&b'\\') => {
                out.push(DAMAGED);
            }
            TokenKind::Word if charset.has_blanks() => blanks(&mut out, bytes),
            _ => out.extend_from_slice(bytes),
        }
        if !kind.is_trivia() {
            is_hexadecimal = introducer && kind == TokenKind::Text && !bytes.is_ascii();
            introducer = kind == TokenKind::Word && is_introducer(bytes);
        }
    }
    out
}

/// A word in which U+00A0 is a blank.
fn blanks(out: &mut Vec<u8>, mut word: &[u8]) {
    const NBSP: &[u8] = "\u{a0}".as_bytes();
    while let Some(at) = word.windows(NBSP.len()).position(|part| part == NBSP) {
        out.extend_from_slice(word.get(..at).unwrap_or_default());
        out.push(b' ');
        word = word.get(at + NBSP.len()..).unwrap_or_default();
    }
    out.extend_from_slice(word);
}

fn is_national(literal: &[u8]) -> bool {
    matches!(literal, [b'n' | b'N', b'\'', ..])
}

/// True for `_utf8mb4` and its like: what follows is in this character set, and is not converted.
pub(crate) fn is_introducer(word: &[u8]) -> bool {
    const NAMES: [&str; 42] = [
        "armscii8", "ascii", "big5", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850",
        "cp852", "cp866", "cp932", "dec8", "eucjpms", "euckr", "gb18030", "gb2312", "gbk",
        "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2",
        "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620", "ucs2", "ujis", "utf16",
        "utf16le", "utf32", "utf8", "utf8mb3", "utf8mb4",
    ];
    let [b'_', name @ ..] = word else { return false };
    NAMES.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Where the text's places are in the statement as the client sent it.
struct Source<'a> {
    sql: &'a [u8],
    charset: Charset,
    at: usize,
    written: usize,
}

impl<'a> Source<'a> {
    /// The client's bytes of what stands between two places of the text, each behind the ones before.
    fn bytes(&mut self, start: usize, end: usize) -> &'a [u8] {
        self.go_to(start);
        let first = self.at;
        self.go_to(end);
        self.sql.get(first..self.at).unwrap_or_default()
    }

    fn go_to(&mut self, place: usize) {
        while self.written < place {
            let rest = self.sql.get(self.at..).unwrap_or_default();
            let (found, length) = self.charset.first(rest);
            self.written += found.map_or(1, char::len_utf8);
            self.at += length.max(1);
        }
    }
}

/// What a string in quotes holds, without an `N` in front. `length` says how many bytes a character has.
pub(crate) fn value(literal: &[u8], mode: SqlMode, length: impl Fn(&[u8]) -> usize) -> Vec<u8> {
    let [quote, inside @ .., _] = literal else { return Vec::new() };
    let mut rest = inside;
    let mut value = Vec::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        let wide = if byte.is_ascii() { 1 } else { length(rest).max(1) };
        if wide > 1 {
            value.extend_from_slice(rest.get(..wide).unwrap_or(rest));
            rest = rest.get(wide..).unwrap_or_default();
        } else if byte == b'\\' && !mode.no_backslash_escapes() {
            rest = escaped(&mut value, behind, &length);
        } else {
            value.push(byte);
            rest = if byte == *quote { behind.get(1..).unwrap_or_default() } else { behind };
        }
    }
    value
}

/// What a backslash makes of the character behind it; what follows that is returned.
fn escaped<'a>(value: &mut Vec<u8>, text: &'a [u8], length: &impl Fn(&[u8]) -> usize) -> &'a [u8] {
    let Some((&byte, behind)) = text.split_first() else { return text };
    match byte {
        b'n' => value.push(b'\n'),
        b't' => value.push(b'\t'),
        b'r' => value.push(b'\r'),
        b'b' => value.push(0x08),
        b'0' => value.push(0),
        b'Z' => value.push(0x1a),
        // LIKE wants these two to see the backslash.
        b'_' | b'%' => value.extend([b'\\', byte]),
        byte if byte.is_ascii() => value.push(byte),
        _ => {
            let wide = length(text).max(1);
            value.extend_from_slice(text.get(..wide).unwrap_or(text));
            return text.get(wide..).unwrap_or_default();
        }
    }
    behind
}

/// A string that holds `value`, in single quotes.
pub(crate) fn quoted(out: &mut Vec<u8>, value: &[u8], mode: SqlMode) {
    out.push(b'\'');
    for byte in value {
        match byte {
            b'\'' => out.extend_from_slice(b"''"),
            b'\\' if !mode.no_backslash_escapes() => out.extend_from_slice(b"\\\\"),
            0 if !mode.no_backslash_escapes() => out.extend_from_slice(b"\\0"),
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
}

/// `x'…'`.
pub(crate) fn hexadecimal(out: &mut Vec<u8>, value: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b" x'");
    for byte in value {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out.push(b'\'');
}
