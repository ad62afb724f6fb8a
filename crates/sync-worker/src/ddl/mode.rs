//! `sql_mode` as the binlog's bit mask, and as the names that a target knows.

/// `(bit, name, known to MySQL 8 and later)`: the same bits in both servers, from
/// `sql/system_variables.h` (MySQL) and `sql/sql_class.h` (MariaDB). Without the modes that stand for
/// several others: see [`GROUPS`].
const MODES: [(u32, &str, bool); 25] = [
    (0, "REAL_AS_FLOAT", true),
    (1, "PIPES_AS_CONCAT", true),
    (2, "ANSI_QUOTES", true),
    (3, "IGNORE_SPACE", true),
    (4, "IGNORE_BAD_TABLE_OPTIONS", false),
    (5, "ONLY_FULL_GROUP_BY", true),
    (6, "NO_UNSIGNED_SUBTRACTION", true),
    (13, "NO_KEY_OPTIONS", false),
    (14, "NO_TABLE_OPTIONS", false),
    (15, "NO_FIELD_OPTIONS", false),
    (16, "MYSQL323", false),
    (17, "MYSQL40", false),
    (19, "NO_AUTO_VALUE_ON_ZERO", true),
    (20, "NO_BACKSLASH_ESCAPES", true),
    (21, "STRICT_TRANS_TABLES", true),
    (22, "STRICT_ALL_TABLES", true),
    (23, "NO_ZERO_IN_DATE", true),
    (24, "NO_ZERO_DATE", true),
    (25, "ALLOW_INVALID_DATES", true),
    (26, "ERROR_FOR_DIVISION_BY_ZERO", true),
    (27, "TRADITIONAL", true),
    (28, "NO_AUTO_CREATE_USER", false),
    (29, "HIGH_NOT_PRECEDENCE", true),
    (30, "NO_ENGINE_SUBSTITUTION", true),
    (31, "PAD_CHAR_TO_FULL_LENGTH", true),
];
/// Modes of MariaDB alone; MySQL uses the first of these bits for something else.
const MARIADB: [(u32, &str); 2] =
    [(EMPTY_IS_NULL, "EMPTY_STRING_IS_NULL"), (33, "SIMULTANEOUS_ASSIGNMENT")];
const EMPTY_IS_NULL: u32 = 32;
/// How a fraction of a second that does not fit goes: MySQL rounds unless it is told not to, MariaDB cuts off
/// unless it is told not to.
const MYSQL_TRUNCATES: (u32, &str) = (32, "TIME_TRUNCATE_FRACTIONAL");
const MARIADB_ROUNDS: (u32, &str) = (34, "TIME_ROUND_FRACTIONAL");

/// Modes of MariaDB that stand for several others, and have a grammar of their own besides: in ORACLE a DATE
/// has a time of day, in MAXDB a TIMESTAMP is a DATETIME.
const GROUPS: [(u32, &str); 5] =
    [(8, "POSTGRESQL"), (ORACLE, "ORACLE"), (10, "MSSQL"), (11, "DB2"), (MAXDB, "MAXDB")];
const ORACLE: u32 = 9;
const MAXDB: u32 = 12;
/// What is set with each of them: PIPES_AS_CONCAT, ANSI_QUOTES, IGNORE_SPACE. A mask without them is no
/// server's, and must not give the target other quotes than the statement was read with.
const PARTS: u64 = 1 << 1 | 1 << 2 | 1 << 3;
/// Always on: a path of the device's disk must not decide where the target puts a file.
const NO_DIRECTORIES: &str = "NO_DIR_IN_CREATE";

/// The names for `mask`, as far as the target knows them, for `SET sql_mode='…'`.
pub fn names(mask: u64, source_is_mariadb: bool, target_is_mariadb: bool) -> String {
    let is_set = |bit: u32| mask >> bit & 1 == 1;
    let mut names = vec![NO_DIRECTORIES];
    let known = MODES.iter().filter(|(_, _, in_mysql)| *in_mysql || target_is_mariadb);
    names.extend(known.filter(|(bit, ..)| is_set(*bit)).map(|(_, name, _)| *name));
    if source_is_mariadb && target_is_mariadb {
        let groups = GROUPS.iter().filter(|_| mask & PARTS == PARTS);
        let own = MARIADB.iter().chain(groups).filter(|(bit, _)| is_set(*bit));
        names.extend(own.map(|(_, name)| *name));
    }
    let rounds = match source_is_mariadb {
        true => is_set(MARIADB_ROUNDS.0),
        false => !is_set(MYSQL_TRUNCATES.0),
    };
    match target_is_mariadb {
        true if rounds => names.push(MARIADB_ROUNDS.1),
        false if !rounds => names.push(MYSQL_TRUNCATES.1),
        _ => {}
    }
    names.join(",")
}

/// The mode of MariaDB's in which `sql` may mean what a MySQL cannot be told.
pub fn untold(mask: u64, sql: &[u8]) -> Option<&'static str> {
    let is_set = |bit: u32| mask >> bit & 1 == 1;
    let says = |word: &[u8]| sql.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    if is_set(ORACLE) {
        return Some("ORACLE");
    }
    if is_set(MAXDB) && says(b"timestamp") {
        return Some("MAXDB");
    }
    (is_set(EMPTY_IS_NULL) && (says(b"''") || says(b"\"\""))).then_some("EMPTY_STRING_IS_NULL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_gets_only_the_modes_that_it_knows() {
        // MariaDB's default and NO_AUTO_CREATE_USER, which MySQL 8 has removed.
        let mask = 1 << 21 | 1 << 26 | 1 << 28 | 1 << 30;
        let wanted = "NO_DIR_IN_CREATE,STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,TIME_TRUNCATE_FRACTIONAL";
        assert_eq!(names(mask, true, false), wanted);
        assert!(names(mask, true, true).contains("NO_AUTO_CREATE_USER"));
    }

    #[test]
    fn a_bit_that_the_servers_use_differently_is_not_carried_over() {
        // MariaDB's EMPTY_STRING_IS_NULL is MySQL's TIME_TRUNCATE_FRACTIONAL.
        let round = 1 << 34;
        assert_eq!(names(1 << 32 | round, true, false), "NO_DIR_IN_CREATE");
        assert_eq!(names(1 << 32, false, true), "NO_DIR_IN_CREATE");
        assert!(names(1 << 32 | round, true, true).contains("EMPTY_STRING_IS_NULL"));
    }

    #[test]
    fn a_fraction_of_a_second_goes_as_at_the_device() {
        let (mysql_cuts, mariadb_rounds) = (1 << 32, 1 << 34);
        for (mask, from_mariadb, to_mariadb, last) in [
            (0, false, false, None),
            (mysql_cuts, false, false, Some("TIME_TRUNCATE_FRACTIONAL")),
            (0, false, true, Some("TIME_ROUND_FRACTIONAL")),
            (mysql_cuts, false, true, None),
            (0, true, false, Some("TIME_TRUNCATE_FRACTIONAL")),
            (mariadb_rounds, true, false, None),
            (0, true, true, None),
            (mariadb_rounds, true, true, Some("TIME_ROUND_FRACTIONAL")),
        ] {
            let names = names(mask, from_mariadb, to_mariadb);
            let wanted =
                last.map_or(NO_DIRECTORIES.to_owned(), |l| format!("{NO_DIRECTORIES},{l}"));
            assert_eq!(names, wanted, "{mask:b} {from_mariadb} {to_mariadb}");
        }
    }

    #[test]
    fn a_mode_that_stands_for_others_goes_with_its_parts_to_a_server_that_has_it() {
        for bit in [8, 9, 10, 11, 12] {
            // ANSI_QUOTES is missing: no server writes that, and it must not change the quotes.
            assert_eq!(names(1 << bit, true, true), NO_DIRECTORIES);
            let names = names(1 << bit | PARTS, true, true);
            let group = GROUPS.iter().find(|(of, _)| *of == bit).expect("is there").1;
            assert!(names.contains(group) && names.contains("ANSI_QUOTES"), "{names}");
        }
        assert!(!names(1 << 9 | PARTS, true, false).contains("ORACLE"));
        // ANSI is no more than its parts.
        assert_eq!(names(1 << 18 | 1 << 2, false, false), "NO_DIR_IN_CREATE,ANSI_QUOTES");
    }

    #[test]
    fn what_a_mode_of_mariadb_changes_is_not_run_as_if_it_changed_nothing() {
        assert_eq!(untold(1 << 9 | PARTS, b"CREATE TABLE t (d DATE)"), Some("ORACLE"));
        assert_eq!(untold(1 << 12, b"CREATE TABLE t (d Timestamp)"), Some("MAXDB"));
        assert_eq!(untold(1 << 12, b"CREATE TABLE t (d DATE)"), None);
        assert_eq!(
            untold(1 << 32, b"CREATE TABLE t (v INT DEFAULT '')"),
            Some("EMPTY_STRING_IS_NULL")
        );
        assert_eq!(untold(1 << 32 | 1 << 21, b"DROP TABLE t"), None);
    }
}
