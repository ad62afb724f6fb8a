//! The character sets that a client may speak, and their characters as Unicode has them.
//!
//! `encoding_rs` holds the large tables. The servers' own differ from them in places, which stand here as ranges
//! that are refused and characters that are replaced. What does not come back from Unicode as the same bytes is
//! no character here: a server that keeps the bytes would not have what we write.

use crate::upper_half;
use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS};

/// How the bytes of a client's character set make characters.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Charset {
    /// ASCII, and nothing else.
    Ascii,
    /// UTF-8: `utf8mb3` has characters of up to three bytes, `utf8mb4` and `binary` of up to four.
    Utf8 {
        /// Bytes of the longest character.
        longest: usize,
    },
    /// One byte a character.
    Single {
        /// The characters from 0x80 on.
        upper: &'static str,
        /// U+00A0 counts as a blank, where a statement has blanks.
        nbsp_is_blank: bool,
    },
    /// Several bytes a character.
    Multi(&'static Multi),
}

/// A character set with characters of several bytes.
#[derive(Debug)]
pub(crate) struct Multi {
    encoding: &'static Encoding,
    /// How many bytes the character has that begins here; 0 when none does.
    length: fn(&[u8]) -> usize,
    /// Characters of two bytes, first and last, that the servers have in another way.
    refused: &'static [(u16, u16)],
    /// Characters of two bytes that are others to the servers.
    replaced: &'static [(u16, char)],
    /// A backslash does not come back as itself.
    refuses_backslash: bool,
}

/// The character set of a collation, by its number; `None` for one that no client may speak, or that is not
/// known here.
pub(crate) fn of(collation: u16) -> Option<Charset> {
    use upper_half as half;
    let single = |upper, nbsp_is_blank| Charset::Single { upper, nbsp_is_blank };
    // Collations of MariaDB that do not pad have the number of their like, and 1024.
    let id = if (1025..1280).contains(&collation) { collation - 1024 } else { collation };
    Some(match id {
        11 | 65 => Charset::Ascii,
        33 | 76 | 83 | 192..=223 | 576..=578 | 2048..=2303 => Charset::Utf8 { longest: 3 },
        45 | 46 | 63 | 224..=247 | 255..=323 | 608..=610 | 2304..=2559 => {
            Charset::Utf8 { longest: 4 }
        }
        1 | 84 => Charset::Multi(&BIG5_MULTI),
        12 | 91 => Charset::Multi(&UJIS),
        13 | 88 => Charset::Multi(&SJIS),
        19 | 85 => Charset::Multi(&EUCKR),
        24 | 86 => Charset::Multi(&GB2312),
        28 | 87 => Charset::Multi(&GBK_MULTI),
        95 | 96 => Charset::Multi(&CP932),
        97 | 98 => Charset::Multi(&EUCJPMS),
        248..=250 => Charset::Multi(&GB18030_MULTI),
        2 | 9 | 21 | 27 | 77 => single(half::LATIN2, true),
        3 | 69 => single(half::DEC8, true),
        4 | 80 => single(half::CP850, false),
        5 | 8 | 15 | 31 | 47..=49 | 94 => single(half::LATIN1, true),
        6 | 72 => single(half::HP8, false),
        7 | 74 => single(half::KOI8R, false),
        14 | 23 | 50..=52 => single(half::CP1251, false),
        16 | 71 => single(half::HEBREW, true),
        18 | 89 => single(half::TIS620, false),
        20 | 41 | 42 | 79 => single(half::LATIN7, true),
        22 | 75 => single(half::KOI8U, false),
        25 | 70 => single(half::GREEK, true),
        26 | 34 | 44 | 66 | 99 => single(half::CP1250, true),
        29 | 58 | 59 => single(half::CP1257, false),
        30 | 78 => single(half::LATIN5, true),
        32 | 64 => single(half::ARMSCII8, true),
        36 | 68 => single(half::CP866, true),
        37 | 73 => single(half::KEYBCS2, true),
        38 | 43 => single(half::MACCE, false),
        39 | 53 => single(half::MACROMAN, false),
        40 | 81 => single(half::CP852, true),
        57 | 67 => single(half::CP1256, false),
        92 | 93 => single(half::GEOSTD8, true),
        // swe7 (10, 82) has letters in the place of brackets and quotes.
        _ => return None,
    })
}

/// Two bytes, or one that is ASCII.
fn pair(text: &[u8], lead: impl Fn(u8) -> bool, trail: impl Fn(u8) -> bool) -> usize {
    match text {
        [first, second, ..] if lead(*first) && trail(*second) => 2,
        _ => 0,
    }
}

fn is_euc(byte: u8) -> bool {
    matches!(byte, 0xa1..=0xfe)
}

/// As `mblen` has it in `strings/ctype-sjis.cc` and `ctype-cp932.cc`.
fn sjis(text: &[u8]) -> usize {
    if matches!(text, [0xa1..=0xdf, ..]) {
        return 1;
    }
    pair(
        text,
        |b| matches!(b, 0x81..=0x9f | 0xe0..=0xfc),
        |b| matches!(b, 0x40..=0x7e | 0x80..=0xfc),
    )
}

/// As in `ctype-ujis.cc` and `ctype-eucjpms.cc`.
fn ujis(text: &[u8]) -> usize {
    match text {
        [0x8e, 0xa1..=0xdf, ..] => 2,
        [0x8f, second, third, ..] if is_euc(*second) && is_euc(*third) => 3,
        _ => pair(text, is_euc, is_euc),
    }
}

/// As in `ctype-gb18030.cc`.
fn gb18030(text: &[u8]) -> usize {
    match text {
        [0x81..=0xfe, 0x30..=0x39, 0x81..=0xfe, 0x30..=0x39, ..] => 4,
        _ => gbk(text),
    }
}

fn gbk(text: &[u8]) -> usize {
    pair(text, |b| matches!(b, 0x81..=0xfe), |b| matches!(b, 0x40..=0x7e | 0x80..=0xfe))
}

const UJIS_REPLACED: &[(u16, char)] =
    &[(0xa1c1, '〜'), (0xa1c2, '‖'), (0xa1dd, '−'), (0xa1f1, '¢'), (0xa1f2, '£'), (0xa2cc, '¬')];

static BIG5_MULTI: Multi = Multi {
    encoding: BIG5,
    length: |text| {
        pair(text, |b| matches!(b, 0xa1..=0xf9), |b| matches!(b, 0x40..=0x7e | 0xa1..=0xfe))
    },
    refused: &[
        (0xa15a, 0xa15a),
        (0xa1c3, 0xa1c3),
        (0xa1c5, 0xa1c5),
        (0xa1fe, 0xa240),
        (0xa2ce, 0xa2ce),
        (0xa3c0, 0xa3e1),
        (0xc6a1, 0xc8fe),
        (0xf9dd, 0xfefe),
    ],
    replaced: &[
        (0xa145, '•'),
        (0xa14e, '､'),
        (0xa1c2, '‾'),
        (0xa1e3, '∼'),
        (0xa1f2, '♁'),
        (0xa1f3, '☉'),
        (0xa241, '／'),
        (0xa242, '＼'),
        (0xa244, '¥'),
        (0xa246, '¢'),
        (0xa247, '£'),
    ],
    refuses_backslash: false,
};
static UJIS: Multi = Multi {
    encoding: EUC_JP,
    length: ujis,
    refused: &[(0xa1c0, 0xa1c0), (0xada1, 0xadf9), (0xf9a1, 0xfcfe)],
    replaced: UJIS_REPLACED,
    refuses_backslash: false,
};
static EUCJPMS: Multi = Multi {
    encoding: EUC_JP,
    length: ujis,
    refused: &[(0xf9a1, 0xfcfe)],
    replaced: &[],
    refuses_backslash: false,
};
static SJIS: Multi = Multi {
    encoding: SHIFT_JIS,
    length: sjis,
    refused: &[(0x815f, 0x815f), (0x8740, 0x8799), (0xfa40, 0xfc4b)],
    replaced: &[
        (0x8160, '〜'),
        (0x8161, '‖'),
        (0x817c, '−'),
        (0x8191, '¢'),
        (0x8192, '£'),
        (0x81ca, '¬'),
    ],
    refuses_backslash: true,
};
static CP932: Multi = Multi {
    encoding: SHIFT_JIS,
    length: sjis,
    refused: &[],
    replaced: &[],
    refuses_backslash: false,
};
static EUCKR: Multi = Multi {
    encoding: EUC_KR,
    length: |text| {
        pair(
            text,
            |b| matches!(b, 0x81..=0xfe),
            |b| matches!(b, 0x41..=0x5a | 0x61..=0x7a | 0x81..=0xfe),
        )
    },
    refused: &[],
    replaced: &[],
    refuses_backslash: false,
};
static GB2312: Multi = Multi {
    encoding: GBK,
    length: |text| pair(text, |b| matches!(b, 0xa1..=0xf7), is_euc),
    refused: &[(0xa2a1, 0xa2aa), (0xa6d9, 0xa6f5), (0xa8bb, 0xa8c0)],
    replaced: &[(0xa1a4, '・'), (0xa1aa, '―')],
    refuses_backslash: false,
};
static GBK_MULTI: Multi = Multi {
    encoding: GBK,
    length: gbk,
    refused: &[(0xa6d9, 0xa6f3), (0xa8bc, 0xa8bf), (0xa989, 0xa995), (0xfe50, 0xfea0)],
    replaced: &[],
    refuses_backslash: false,
};
static GB18030_MULTI: Multi = Multi {
    encoding: GB18030,
    length: gb18030,
    refused: &[(0xa6d9, 0xa6f3), (0xfe59, 0xfea0)],
    replaced: &[],
    refuses_backslash: false,
};

// === impl Charset ===

impl Charset {
    /// The first character of `text` and how many bytes it has; `None` in its place when these bytes are none.
    pub(crate) fn first(self, text: &[u8]) -> (Option<char>, usize) {
        match text.first() {
            None => (None, 0),
            Some(&byte) if byte.is_ascii() => (Some(char::from(byte)), 1),
            Some(&byte) => match self {
                Self::Ascii => (None, 1),
                Self::Utf8 { longest } => utf8(text, longest),
                Self::Single { upper, .. } => {
                    let found = upper.chars().nth(usize::from(byte & 0x7f));
                    (found.filter(|c| *c != '?'), 1)
                }
                Self::Multi(multi) => multi.first(text),
            },
        }
    }

    /// The text is UTF-8 as it is.
    pub(crate) fn is_utf8(self) -> bool {
        matches!(self, Self::Utf8 { .. } | Self::Ascii)
    }

    /// There is a blank beyond ASCII.
    pub(crate) fn has_blanks(self) -> bool {
        matches!(self, Self::Single { nbsp_is_blank: true, .. })
    }

    /// A backslash in a string does not come back as itself.
    pub(crate) fn refuses_backslash(self) -> bool {
        matches!(self, Self::Multi(Multi { refuses_backslash: true, .. }))
    }
}

fn utf8(text: &[u8], longest: usize) -> (Option<char>, usize) {
    let most = text.get(..longest).unwrap_or(text);
    let valid = match std::str::from_utf8(most) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(most.get(..error.valid_up_to()).unwrap_or_default())
            .unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(c) => (Some(c), c.len_utf8()),
        None => (None, 1),
    }
}

// === impl Multi ===

impl Multi {
    fn first(&self, text: &[u8]) -> (Option<char>, usize) {
        let length = (self.length)(text);
        let Some(bytes) = text.get(..length).filter(|bytes| !bytes.is_empty()) else {
            return (None, 1);
        };
        (self.character(bytes), length)
    }

    fn character(&self, bytes: &[u8]) -> Option<char> {
        if let [first, second] = *bytes {
            let code = u16::from_be_bytes([first, second]);
            if let Some((_, c)) = self.replaced.iter().find(|(from, _)| *from == code) {
                return Some(*c);
            }
            if self.refused.iter().any(|(first, last)| (*first..=*last).contains(&code)) {
                return None;
            }
        }
        let (text, damaged) = self.encoding.decode_without_bom_handling(bytes);
        let mut characters = text.chars();
        let (c, more) = (characters.next()?, characters.next());
        // What a font's maker put there is not the same everywhere.
        let is_private = matches!(c, '\u{e000}'..='\u{f8ff}');
        let (back, ..) = self.encoding.encode(&text);
        (!damaged && more.is_none() && !is_private && *back == *bytes).then_some(c)
    }
}
