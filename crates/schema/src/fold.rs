//! Names as a server folds them whose names of databases and tables have no case (`lower_case_table_names` is not 0).

/// Capital letters that the servers do not know to be such: their tables (`utf8mb3_general_ci`, the same in both
/// products) are older than these. What has none of its own between the first and the last is in them as well.
const WITHOUT_CASE: [(char, char); 30] = [
    ('\u{220}', '\u{220}'),
    ('\u{23a}', '\u{23e}'),
    ('\u{241}', '\u{24e}'),
    ('\u{370}', '\u{372}'),
    ('\u{376}', '\u{376}'),
    ('\u{37f}', '\u{37f}'),
    ('\u{3cf}', '\u{3cf}'),
    ('\u{3d8}', '\u{3d8}'),
    ('\u{3f4}', '\u{3f4}'),
    ('\u{3f7}', '\u{3fa}'),
    ('\u{3fd}', '\u{3ff}'),
    ('\u{48a}', '\u{48a}'),
    ('\u{4c0}', '\u{4c0}'),
    ('\u{4c5}', '\u{4c5}'),
    ('\u{4c9}', '\u{4c9}'),
    ('\u{4cd}', '\u{4cd}'),
    ('\u{4f6}', '\u{4f6}'),
    ('\u{4fa}', '\u{52e}'),
    ('\u{10a0}', '\u{1cff}'),
    ('\u{1e9e}', '\u{1e9e}'),
    ('\u{1efa}', '\u{1efe}'),
    ('\u{2132}', '\u{2132}'),
    ('\u{2183}', '\u{2183}'),
    ('\u{2c00}', '\u{2ced}'),
    ('\u{2cf2}', '\u{2cf2}'),
    ('\u{a640}', '\u{a66c}'),
    ('\u{a680}', '\u{a69a}'),
    ('\u{a722}', '\u{a786}'),
    ('\u{a78b}', '\u{a7ff}'),
    ('\u{10000}', char::MAX),
];

/// The name of a database, a table or another name for one, in the letters in which such a server keeps it.
pub fn fold_name(name: &str) -> String {
    name.chars().map(fold).collect()
}

fn fold(c: char) -> char {
    if WITHOUT_CASE.iter().any(|(first, last)| (*first..=*last).contains(&c)) {
        return c;
    }
    // Two letters to Unicode (U+0130) begin with the one that the servers make of it.
    c.to_lowercase().next().unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_as_the_servers_do_it() {
        assert_eq!(fold_name("QRTZ_Triggers"), "qrtz_triggers");
        assert_eq!(fold_name("PRÜFUNG Σίσυφος ЖУРНАЛ"), "prüfung σίσυφος журнал");
        assert_eq!(fold_name("İSTANBUL ẞ 设备 Ⴀ Ａ"), "istanbul ẞ 设备 Ⴀ ａ");
    }
}
