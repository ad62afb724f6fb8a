//! `sql_mode` as the binlog's bit mask, and as the names that a target knows.

/// `(bit, name, known to MySQL 8 and later)`: the same bits in both servers, from
/// `sql/system_variables.h` (MySQL) and `sql/sql_class.h` (MariaDB). Without the modes that stand for
/// several others (ANSI, ORACLE and their like): a server sets the bits of their parts as well, and a
/// mask that does not would give the target other quotes than the statement was read with.
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
const MARIADB: [(u32, &str); 3] =
    [(32, "EMPTY_STRING_IS_NULL"), (33, "SIMULTANEOUS_ASSIGNMENT"), (34, "TIME_ROUND_FRACTIONAL")];
const MYSQL: [(u32, &str); 1] = [(32, "TIME_TRUNCATE_FRACTIONAL")];
/// Always on: a path of the device's disk must not decide where the target puts a file.
const NO_DIRECTORIES: &str = "NO_DIR_IN_CREATE";

/// The names for `mask`, as far as the target knows them, for `SET sql_mode='…'`.
pub fn names(mask: u64, source_is_mariadb: bool, target_is_mariadb: bool) -> String {
    let is_set = |bit: u32| mask >> bit & 1 == 1;
    let mut names = vec![NO_DIRECTORIES];
    names.extend(
        MODES
            .iter()
            .filter(|(bit, _, in_mysql)| is_set(*bit) && (*in_mysql || target_is_mariadb))
            .map(|(_, name, _)| *name),
    );
    if source_is_mariadb == target_is_mariadb {
        let own: &[(u32, &str)] = if target_is_mariadb { &MARIADB } else { &MYSQL };
        names.extend(own.iter().filter(|(bit, _)| is_set(*bit)).map(|(_, name)| *name));
    }
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_gets_only_the_modes_that_it_knows() {
        // MariaDB's default and NO_AUTO_CREATE_USER, which MySQL 8 has removed.
        let mask = 1 << 21 | 1 << 26 | 1 << 28 | 1 << 30;
        let wanted = "NO_DIR_IN_CREATE,STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";
        assert_eq!(names(mask, true, false), wanted);
        assert!(names(mask, true, true).contains("NO_AUTO_CREATE_USER"));
    }

    #[test]
    fn a_bit_that_the_servers_use_differently_is_not_carried_over() {
        assert_eq!(names(1 << 32, true, false), "NO_DIR_IN_CREATE");
        assert_eq!(names(1 << 32, false, false), "NO_DIR_IN_CREATE,TIME_TRUNCATE_FRACTIONAL");
    }

    #[test]
    fn a_mode_that_stands_for_others_is_left_to_its_parts() {
        // ANSI without ANSI_QUOTES: no server writes that, and it must not change the quotes.
        for bit in [8, 9, 10, 11, 12, 18] {
            for target_is_mariadb in [false, true] {
                assert_eq!(names(1 << bit, target_is_mariadb, target_is_mariadb), NO_DIRECTORIES);
            }
        }
        assert_eq!(names(1 << 18 | 1 << 2, false, false), "NO_DIR_IN_CREATE,ANSI_QUOTES");
    }
}
