//! Character and binary types, ENUM, SET.

use super::case::{Case, ON_MARIADB, ON_MYSQL};
use fastrand::Rng;

const RANDOM: usize = 8;

/// Character sets with a collation that both servers have, and values as hex of that character set's
/// own bytes: what ends a string or an escape elsewhere hides inside of characters.
const CHARSETS: [(&str, &str, &[&str]); 17] = [
    (
        "utf8mb4",
        "utf8mb4_bin",
        &["F09F9AB2", "E6B189E5AD97", "C3BC", "F48FBFBF", "E282AC5C", "EFBFBD"],
    ),
    ("utf8mb4", "utf8mb4_unicode_ci", &["41", "61", "C384", "6120", "C39F", "7373", "EFBFBF"]),
    ("utf8mb3", "utf8mb3_general_ci", &["E6B189", "EFBFBF", "C3A9", "5C27"]),
    ("latin1", "latin1_swedish_ci", &["E4F6FC", "80", "FF", "00", "815C", "A0"]),
    ("latin2", "latin2_general_ci", &["B1E6EA", "FF"]),
    ("ascii", "ascii_bin", &["00", "7F", "5C5C27", "1A"]),
    ("cp1251", "cp1251_general_ci", &["CFF0E8E2E5F2", "FF", "5C"]),
    ("koi8r", "koi8r_general_ci", &["C1C2D7", "FF"]),
    ("gbk", "gbk_chinese_ci", &["BABAD7D6", "815C", "BF5C", "FE5C27", "A1A1", "8140"]),
    ("gb2312", "gb2312_chinese_ci", &["BABAD7D6", "B0A1"]),
    ("big5", "big5_chinese_ci", &["A45C", "A44061", "B35C27", "C94F"]),
    ("sjis", "sjis_japanese_ci", &["835C", "815C", "8F5C27", "B1"]),
    ("cp932", "cp932_japanese_ci", &["835C", "FA5C", "8790"]),
    ("ujis", "ujis_japanese_ci", &["A4A2", "8EB1", "8FB0A1"]),
    ("ucs2", "ucs2_general_ci", &["005C0027", "6C495B57", "00000020", "FFFD", "5C27"]),
    ("utf16", "utf16_general_ci", &["D83DDEB2", "005C", "00270000", "275C"]),
    ("utf32", "utf32_general_ci", &["0001F6B2", "0000005C", "00000027", "00002722"]),
];

/// What the text of statements is most easily broken by.
const HOSTILE: [&str; 9] = [
    r"''",
    r"'\''",
    r"'\\'",
    r#"'\\\'\n\r\0\Z\"%_'"#,
    r"' '",
    r"'a  '",
    r"'-- '",
    r"'NULL'",
    r"'\\0'",
];

pub(super) fn cases(random: &mut Rng) -> Vec<Case> {
    let mut cases: Vec<Case> =
        CHARSETS.iter().flat_map(|charset| charset_cases(random, *charset)).collect();
    cases.push(
        Case::new("gb18030", "VARCHAR(40) CHARACTER SET gb18030 COLLATE gb18030_chinese_ci")
            .values(["_gb18030 X'8130813081308130'", "_gb18030 X'FE5C'", "_gb18030 X'9439DA36'"])
            .on(ON_MYSQL)
            .key(),
    );
    cases.push(
        Case::new(
            "utf8mb4_0900_ai_ci",
            "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci",
        )
        .values(["'a'", "'A'", "'a '", "'ä'", "'汉字🚲'"])
        .on(ON_MYSQL)
        .key(),
    );
    cases.push(
        Case::new("uca1400", "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_ai_ci")
            .values(["'a'", "'A'", "'a '", "'ä'", "'汉字🚲'"])
            .on(ON_MARIADB)
            .key(),
    );
    cases.extend(widths());
    cases.extend(binaries(random));
    cases.extend(members());
    cases
}

fn charset_cases(random: &mut Rng, (charset, collation, hex): (&str, &str, &[&str])) -> Vec<Case> {
    let own: Vec<String> = hex.iter().map(|hex| format!("_{charset} X'{hex}'")).collect();
    let converted = HOSTILE.map(|text| format!("CONVERT({text} USING {charset})"));
    let more: Vec<String> = (0..RANDOM)
        .map(|_| {
            let text: String = (0..random.usize(1..12)).map(|_| letter(random)).collect();
            format!("CONVERT(_utf8mb4 X'{}' USING {charset})", hex_of(text.as_bytes()))
        })
        .collect();
    let case = |name: &str, column: &str| {
        Case::new(
            format!("{name}_{collation}"),
            format!("{column} CHARACTER SET {charset} COLLATE {collation}"),
        )
        .values(own.clone())
        .values(converted.clone())
    };
    vec![
        case("char", "CHAR(40)").key(),
        // What the character set lacks becomes a question mark.
        case("varchar", "VARCHAR(60)").bent(&more).key(),
        case("text", "TEXT").bent(&more).prefix_key(20),
    ]
}

/// Any character, more often one that matters.
fn letter(random: &mut Rng) -> char {
    match random.u32(..4) {
        0 => random.char('\0'..='\u{7f}'),
        1 => ['\\', '\'', '"', '\0', '\u{1a}', ' ', '汉', 'ソ', '🚲', 'é', '\u{a0}']
            [random.usize(..11)],
        2 => random.char('\u{80}'..='\u{ffff}'),
        _ => random.char(..),
    }
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Lengths at which a prefix of the length grows, or bits of it hide elsewhere.
fn widths() -> Vec<Case> {
    const UTF8: &str = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    let repeated = |text: &str, counts: &[usize]| -> Vec<String> {
        counts.iter().map(|count| format!("REPEAT('{text}', {count})")).collect()
    };
    vec![
        Case::new("char_63", format!("CHAR(63) {UTF8}")).values(repeated("🚲", &[0, 1, 63])).key(),
        Case::new("char_64", format!("CHAR(64) {UTF8}")).values(repeated("🚲", &[63, 64])).key(),
        Case::new("char_255", format!("CHAR(255) {UTF8}"))
            .values(repeated("🚲", &[0, 1, 63, 64, 127, 128, 255]))
            .values(repeated("x", &[255])),
        Case::new("char_0", format!("CHAR(0) {UTF8}")).values(["''"]),
        Case::new("varchar_255", "VARCHAR(255) CHARACTER SET latin1")
            .values(repeated("x", &[0, 254, 255]))
            .key(),
        Case::new("varchar_256", "VARCHAR(256) CHARACTER SET latin1")
            .values(repeated("x", &[0, 255, 256]))
            .key(),
        Case::new("varchar_16000", format!("VARCHAR(16000) {UTF8}"))
            .values(repeated("🚲", &[0, 63, 64, 16000])),
        Case::new("tinytext", format!("TINYTEXT {UTF8}")).values(repeated("é", &[0, 1, 127])),
        Case::new("text_64k", format!("TEXT {UTF8}")).values(repeated("é", &[1, 32767])),
        Case::new("mediumtext", format!("MEDIUMTEXT {UTF8}"))
            .values(repeated("é", &[1, 32768, 40000])),
        Case::new("longtext", format!("LONGTEXT {UTF8}"))
            .values(repeated("é", &[1, 40000, 120_000])),
    ]
}

fn binaries(random: &mut Rng) -> Vec<Case> {
    const BYTES: [&str; 7] =
        ["X''", "X'00'", "X'0000FF00'", "X'FF0000'", "X'275C220A0D1A00'", "X'20'", "X'2020'"];
    let more: Vec<String> = (0..RANDOM)
        .map(|_| {
            let bytes: Vec<u8> = (0..random.usize(1..16)).map(|_| random.u8(..)).collect();
            format!("X'{}'", hex_of(&bytes))
        })
        .collect();
    let mut cases = vec![
        Case::new("binary_16", "BINARY(16)").values(BYTES).values(more.clone()).key(),
        Case::new("binary_255", "BINARY(255)").values(BYTES).values(["REPEAT(X'00FF', 127)"]).key(),
        Case::new("binary_0", "BINARY(0)").values(["X''"]),
        Case::new("varbinary_20", "VARBINARY(20)").values(BYTES).values(more.clone()).key(),
        Case::new("varbinary_300", "VARBINARY(300)").values(["X''", "REPEAT(X'00', 300)"]).key(),
        Case::new("varchar_binary", "VARCHAR(20) CHARACTER SET binary").values(BYTES).key(),
    ];
    for (name, longest) in
        [("TINYBLOB", 255), ("BLOB", 65535), ("MEDIUMBLOB", 70_000), ("LONGBLOB", 100_000)]
    {
        let case =
            Case::new(name.to_lowercase(), name).values(BYTES).values(more.clone()).values([
                format!("REPEAT(X'5C', {longest})"),
                format!("REPEAT(X'00', {})", longest / 2),
            ]);
        cases.push(case.prefix_key(16));
    }
    cases
}

fn members() -> Vec<Case> {
    let list = |count: usize| -> String {
        (1..=count).map(|n| format!("'m{n}'")).collect::<Vec<_>>().join(",")
    };
    let set = |count: u32| -> Case {
        let all = u64::MAX >> (64 - count);
        let column = format!("SET({})", list(count as usize));
        Case::new(format!("set_{count}"), column)
            .values([0, 1, all, all >> 1, 1 << (count - 1)].map(|value: u64| value.to_string()))
            .key()
    };
    let error = &["'no such member'"];
    let mut cases = vec![
        Case::new("enum_3", "ENUM('a','b','c')").values(["'a'", "'c'"]).bent(error).key(),
        Case::new("enum_empty_member", "ENUM('x','','y')").values(["'x'", "''"]).bent(error).key(),
        Case::new("enum_255", format!("ENUM({})", list(255)))
            .values(["1", "127", "128", "255"])
            .bent(error),
        Case::new("enum_300", format!("ENUM({})", list(300)))
            .values(["1", "128", "255", "256", "300"])
            .bent(error)
            .key(),
        Case::new("enum_gbk", "ENUM('汉','字') CHARACTER SET gbk").values(["1", "2"]).bent(error),
        Case::new("set_gbk", "SET('汉','字') CHARACTER SET gbk").values(["0", "1", "2", "3"]),
    ];
    cases.extend([1, 8, 9, 16, 17, 24, 25, 32, 33, 63, 64].map(set));
    cases
}
