//! The nearest collation that a target has, where it lacks the one that the device uses. Pure.

use crate::target::Charsets;

/// What collation ids that are not known here stand for: the default one of their server's newest.
const MYSQL_DEFAULT: &str = "utf8mb4_0900_ai_ci";
const MARIADB_DEFAULT: &str = "utf8mb4_uca1400_ai_ci";

/// The name for a collation id of the device: its own where the target has it, otherwise the nearest;
/// `None` where there is none.
pub fn name(id: u16, charsets: &Charsets) -> Option<String> {
    let known = charsets.collation(id).map(str::to_owned);
    known.or_else(|| match id {
        278 => nearest("utf8mb4_0900_as_cs", charsets),
        305 => nearest("utf8mb4_0900_as_ci", charsets),
        309 => nearest("utf8mb4_0900_bin", charsets),
        255..=323 => nearest(MYSQL_DEFAULT, charsets),
        2304..=2559 => nearest(MARIADB_DEFAULT, charsets),
        _ => None,
    })
}

/// The collation that the target has which is nearest to `wanted`, a name of the other server.
pub fn nearest(wanted: &str, charsets: &Charsets) -> Option<String> {
    let wanted = wanted.to_ascii_lowercase();
    if !wanted.starts_with("utf8mb4_") {
        return None;
    }
    let sensitivity = if wanted.ends_with("_bin") {
        "bin"
    } else if wanted.contains("_as_cs") {
        "as_cs"
    } else if wanted.contains("_as_ci") {
        "as_ci"
    } else {
        "ai_ci"
    };
    // MySQL's 0900 collations do not pad; MariaDB has each of its own in both ways.
    let candidates: &[&str] = match sensitivity {
        "bin" => &["utf8mb4_0900_bin", "utf8mb4_nopad_bin", "utf8mb4_bin"],
        "as_cs" => &[
            "utf8mb4_0900_as_cs",
            "utf8mb4_uca1400_nopad_as_cs",
            "utf8mb4_uca1400_as_cs",
            "utf8mb4_nopad_bin",
            "utf8mb4_bin",
        ],
        "as_ci" => &[
            "utf8mb4_0900_as_ci",
            "utf8mb4_uca1400_nopad_as_ci",
            "utf8mb4_uca1400_as_ci",
            "utf8mb4_unicode_520_nopad_ci",
            "utf8mb4_unicode_520_ci",
        ],
        _ => &[
            "utf8mb4_0900_ai_ci",
            "utf8mb4_uca1400_nopad_ai_ci",
            "utf8mb4_uca1400_ai_ci",
            "utf8mb4_unicode_520_nopad_ci",
            "utf8mb4_unicode_520_ci",
        ],
    };
    let has = |name: &&&str| **name != wanted && charsets.has_collation(name);
    candidates.iter().find(has).map(|name| (*name).to_owned())
}

/// True when a collation of this server tells the same texts apart, and orders them, as one of the other
/// product's that it lacks, by the latter's id. Of the collations of one language that is for whoever chose this
/// one to say.
pub fn is_like(id: u16, found: &str) -> bool {
    let Some(found) = Sort::of(found) else { return false };
    match id {
        255 => found == Sort { pads: false, ..Sort::root("ai_ci") },
        278 => found == Sort { pads: false, ..Sort::root("as_cs") },
        305 => found == Sort { pads: false, ..Sort::root("as_ci") },
        309 => found == Sort { pads: false, ..Sort::root("bin") },
        256..=277 | 279..=304 | 306..=308 | 310..=323 => found.is_tailored && !found.pads,
        // 2304, and 8 for each language, 4 for NO PAD, 2 for accents, 1 for case (MariaDB 10.10).
        2304..=2559 => {
            let sensitivity = ["ai_ci", "ai_cs", "as_ci", "as_cs"][usize::from(id & 3)];
            found.sensitivity == sensitivity && found.is_tailored == (id & 0xf8 != 0)
        }
        _ => false,
    }
}

/// What a Unicode collation of version 9 (MySQL) or 14 (MariaDB) goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sort<'a> {
    /// Of one language.
    is_tailored: bool,
    /// Blanks at the end count for nothing.
    pads: bool,
    sensitivity: &'a str,
}

// === impl Sort ===

impl<'a> Sort<'a> {
    fn root(sensitivity: &'a str) -> Self {
        Self { is_tailored: false, pads: true, sensitivity }
    }

    fn of(name: &'a str) -> Option<Self> {
        let rest = name.strip_prefix("utf8mb4_")?;
        let bin = ["nopad_bin", "0900_bin"].contains(&rest);
        if bin || rest == "bin" {
            return Some(Self { pads: !bin, ..Self::root("bin") });
        }
        let at = rest.len().checked_sub("ai_ci".len()).filter(|at| rest.is_char_boundary(*at))?;
        let (family, sensitivity) = rest.split_at(at);
        let sort =
            |language: &str, pads| Self { is_tailored: !language.is_empty(), pads, sensitivity };
        match family.strip_prefix("uca1400_") {
            Some(language) => Some(match language.strip_suffix("nopad_") {
                Some(language) => sort(language, false),
                None => sort(language, true),
            }),
            None => family.strip_suffix("0900_").map(|language| sort(language, false)),
        }
    }
}

/// The name in an error 1273, `Unknown collation: 'x'`.
pub fn refused(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once('\'')?;
    let (name, _) = rest.split_once('\'')?;
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    is_name(name).then_some(name)
}

/// The statement with one collation's name replaced wherever it stands as a word, in any case.
pub fn replace(sql: &[u8], from: &str, to: &str) -> Vec<u8> {
    let is_word =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80;
    let mut out = Vec::with_capacity(sql.len());
    let mut at = 0;
    while at < sql.len() {
        let end = at + from.len();
        let matches =
            sql.get(at..end).is_some_and(|text| text.eq_ignore_ascii_case(from.as_bytes()))
                && (at == 0 || !is_word(sql[at - 1]))
                && sql.get(end).is_none_or(|byte| !is_word(*byte));
        if matches {
            out.extend_from_slice(to.as_bytes());
            at = end;
        } else {
            out.push(sql[at]);
            at += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charsets(names: &[&str]) -> Charsets {
        let row = |(id, name): (u16, &&str)| (id, (*name).to_owned(), "utf8mb4".to_owned());
        Charsets::new((1000..).zip(names).map(row))
    }

    #[test]
    fn the_nearest_collation_keeps_sensitivity_and_padding_where_it_can() {
        let new =
            charsets(&["utf8mb4_uca1400_ai_ci", "utf8mb4_uca1400_nopad_ai_ci", "utf8mb4_bin"]);
        assert_eq!(
            nearest("utf8mb4_0900_ai_ci", &new).as_deref(),
            Some("utf8mb4_uca1400_nopad_ai_ci")
        );
        assert_eq!(nearest("utf8mb4_de_pb_0900_as_cs", &new).as_deref(), Some("utf8mb4_bin"));
        let old = charsets(&["utf8mb4_unicode_520_ci"]);
        assert_eq!(name(255, &old).as_deref(), Some("utf8mb4_unicode_520_ci"));
        let mysql = charsets(&["utf8mb4_0900_ai_ci"]);
        assert_eq!(nearest("utf8mb4_uca1400_ai_ci", &mysql).as_deref(), Some("utf8mb4_0900_ai_ci"));
        assert_eq!(nearest("klingon_ci", &mysql), None);
    }

    #[test]
    fn what_tells_texts_apart_otherwise_is_not_alike() {
        for (id, found, is) in [
            (255, "utf8mb4_uca1400_nopad_ai_ci", true),
            (255, "utf8mb4_uca1400_ai_ci", false),
            (255, "utf8mb4_unicode_520_nopad_ci", false),
            (278, "utf8mb4_uca1400_nopad_as_cs", true),
            (278, "utf8mb4_nopad_bin", false),
            (309, "utf8mb4_nopad_bin", true),
            (264, "utf8mb4_uca1400_nopad_ai_ci", false),
            (264, "utf8mb4_uca1400_swedish_nopad_ai_ci", true),
            (2304, "utf8mb4_0900_ai_ci", true),
            (2308, "utf8mb4_0900_ai_ci", true),
            (2307, "utf8mb4_0900_ai_ci", false),
            (2307, "utf8mb4_0900_as_cs", true),
            (2312, "utf8mb4_0900_ai_ci", false),
            (2312, "utf8mb4_is_0900_ai_ci", true),
            (1069, "utf8mb4_general_ci", false),
            (255, "latin1_swedish_ci", false),
        ] {
            assert_eq!(is_like(id, found), is, "{id} {found}");
        }
    }

    #[test]
    fn only_the_whole_name_is_replaced() {
        let sql = b"COLLATE UTF8MB4_0900_AI_CI, x_utf8mb4_0900_ai_ci, `utf8mb4_0900_ai_ci`";
        let replaced = replace(sql, "utf8mb4_0900_ai_ci", "b");
        assert_eq!(replaced, b"COLLATE b, x_utf8mb4_0900_ai_ci, `b`");
    }

    #[test]
    fn the_refused_name_is_read_from_the_servers_message() {
        assert_eq!(refused("Unknown collation: 'utf8mb4_0900_ai_ci'"), Some("utf8mb4_0900_ai_ci"));
        assert_eq!(refused("Unknown collation: 'a b'"), None);
        assert_eq!(refused("no name"), None);
    }
}
