//! Words that one product reserves and the other leaves free as names.

/// To MySQL 9, and not to MariaDB. Those that MariaDB's definitions hold for what they mean (GENERATED, STORED,
/// SYSTEM and their like) are not among them.
const MYSQL: [&str; 25] = [
    "CUBE",
    "CUME_DIST",
    "DENSE_RANK",
    "EXTERNAL",
    "FIRST_VALUE",
    "FUNCTION",
    "GET",
    "GROUPING",
    "GROUPS",
    "IO_AFTER_GTIDS",
    "IO_BEFORE_GTIDS",
    "LAG",
    "LAST_VALUE",
    "LEAD",
    "LIBRARY",
    "MANUAL",
    "MASTER_BIND",
    "NTH_VALUE",
    "NTILE",
    "OPTIMIZER_COSTS",
    "PARALLEL",
    "PERCENT_RANK",
    "QUALIFY",
    "RANK",
    "TABLESAMPLE",
];
/// To MariaDB, and not to MySQL.
const MARIADB: [&str; 14] = [
    "CURRENT_ROLE",
    "DELETE_DOMAIN_ID",
    "DO_DOMAIN_IDS",
    "GENERAL",
    "IGNORE_DOMAIN_IDS",
    "IGNORE_SERVER_IDS",
    "MASTER_HEARTBEAT_PERIOD",
    "OFFSET",
    "PAGE_CHECKSUM",
    "PARSE_VCOL_EXPR",
    "REF_SYSTEM_ID",
    "RETURNING",
    "ROW_NUMBER",
    "SLOW",
];

/// True for a word that has to be a name where the other product wrote it.
pub(crate) fn is_reserved(word: &[u8], to_mariadb: bool) -> bool {
    let words: &[&str] = if to_mariadb { &MARIADB } else { &MYSQL };
    words.iter().any(|reserved| reserved.as_bytes().eq_ignore_ascii_case(word))
}
