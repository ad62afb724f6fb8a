//! What a statement is for a server of the other product, and for one whose names have no case.

use tributary_schema::{Condition, Part, SqlMode, Target, fold, rewrite_for, utf8};

fn written(sql: &str, to_mariadb: bool, there: &[(Part, &str)]) -> String {
    let is_made = |condition: &Condition| {
        there.contains(&(condition.what, condition.name.as_str())) == condition.if_exists
    };
    let map = |name: &str| format!("D1__{name}");
    let target = Target { map: &map, other: Some(to_mariadb), is_made: &is_made };
    let written = rewrite_for(sql.as_bytes(), SqlMode::default(), &target).expect("is DDL");
    String::from_utf8(written).expect("is UTF-8")
}

#[test]
fn conditions_that_only_mariadb_knows_are_settled_for_mysql() {
    let there = [(Part::Column, "w"), (Part::Index, "iv"), (Part::Partition, "p1")];
    for (sql, wanted) in [
        ("ALTER TABLE t ADD COLUMN IF NOT EXISTS w INT DEFAULT 3", "ALTER TABLE `t`"),
        ("ALTER TABLE t ADD COLUMN IF NOT EXISTS x INT", "ALTER TABLE `t` ADD COLUMN `x` INT"),
        (
            "ALTER TABLE t ADD IF NOT EXISTS w INT, ADD INDEX IF NOT EXISTS iw (w), DROP COLUMN IF EXISTS nix, COMMENT 'x'",
            "ALTER TABLE `t` ADD INDEX `iw` (w), COMMENT 'x'",
        ),
        (
            "ALTER TABLE IF EXISTS app.t WAIT 5 MODIFY IF EXISTS w BIGINT, ALGORITHM=INSTANT, LOCK NONE, DROP KEY IF EXISTS iv",
            "ALTER TABLE `D1__app`.`t` MODIFY w BIGINT, DROP KEY iv",
        ),
        ("ALTER TABLE t DROP PARTITION IF EXISTS p1", "ALTER TABLE `t` DROP PARTITION p1"),
        ("ALTER TABLE t DROP PARTITION IF EXISTS p2", "ALTER TABLE `t`"),
        ("ALTER TABLE t DROP FOREIGN KEY IF EXISTS f", "ALTER TABLE `t`"),
        ("CREATE INDEX IF NOT EXISTS iv ON app.t (w) LOCK=NONE", "ALTER TABLE `D1__app`.`t`"),
        ("CREATE INDEX IF NOT EXISTS iw ON t (w) ALGORITHM=COPY", "CREATE INDEX `iw` ON `t` (w)"),
        ("DROP INDEX IF EXISTS iv ON t WAIT 3", "DROP INDEX `iv` ON `t`"),
        ("DROP INDEX IF EXISTS nix ON t", "ALTER TABLE `t`"),
        ("DROP TABLE a, b WAIT 3 RESTRICT", "DROP TABLE `a`, `b` RESTRICT"),
        ("TRUNCATE TABLE t NOWAIT", "TRUNCATE TABLE `t`"),
    ] {
        assert_eq!(written(sql, false, &there), wanted, "{sql}");
    }
}

#[test]
fn how_the_work_is_done_is_left_to_the_target() {
    for (sql, wanted) in [
        ("ALTER TABLE t ALGORITHM=INPLACE, ADD c INT", "ALTER TABLE `t` ADD `c` INT"),
        ("ALTER TABLE t ADD c INT, LOCK=SHARED, ALGORITHM=COPY", "ALTER TABLE `t` ADD `c` INT"),
        ("ALTER TABLE t ALGORITHM INSTANT", "ALTER TABLE `t`"),
        ("ALTER TABLE t ADD algorithm INT", "ALTER TABLE `t` ADD `algorithm` INT"),
        (
            "ALTER TABLE t PARTITION BY KEY ALGORITHM=2 (a) PARTITIONS 3",
            "ALTER TABLE `t` PARTITION BY KEY ALGORITHM=2 (a) PARTITIONS 3",
        ),
    ] {
        assert_eq!(written(sql, true, &[]), wanted, "{sql}");
        assert_eq!(written(sql, false, &[]), wanted, "{sql}");
    }
}

#[test]
fn names_that_the_target_reserves_are_quoted() {
    let sql = "CREATE TABLE t (rank INT, KEY rank (rank), KEY k (groups))";
    let wanted = "CREATE TABLE `t` (`rank` INT, KEY `rank` (`rank`), KEY `k` (`groups`))";
    assert_eq!(written(sql, false, &[]), wanted);
    let sql = "CREATE VIEW v AS SELECT rank() OVER (ORDER BY offset) FROM t LIMIT 5 OFFSET 2";
    let wanted = "CREATE SQL SECURITY INVOKER VIEW `v` AS SELECT rank() OVER (ORDER BY `offset`) FROM `t` LIMIT 5 OFFSET 2";
    assert_eq!(written(sql, true, &[]), wanted);
}

#[test]
fn names_without_case_are_folded_wherever_they_stand() {
    for (sql, wanted) in [
        (
            "CREATE TABLE Plant.T1 (Id INT, FOREIGN KEY (Id) REFERENCES P (Id)) COMMENT='T1'",
            "CREATE TABLE `plant`.`t1` (Id INT, FOREIGN KEY (Id) REFERENCES `p` (Id)) COMMENT='T1'",
        ),
        ("RENAME TABLE A TO Plant.B, `Ä` TO c", "RENAME TABLE `a` TO `plant`.`b`, `ä` TO `c`"),
        (
            "CREATE VIEW V AS SELECT X.Id AS One, `Y`.`Id`, Plant.Z.* FROM T AS X JOIN U Y ON x.Id = y.Id JOIN (SELECT Id FROM W) AS D JOIN Plant.Z",
            "CREATE SQL SECURITY INVOKER VIEW `v` AS SELECT `x`.Id AS One, `y`.`Id`, `plant`.`z`.* FROM `t` AS `x` JOIN `u` `y` ON `x`.Id = `y`.Id JOIN (SELECT Id FROM `w`) AS `d` JOIN `plant`.`z`",
        ),
        ("DROP DATABASE Plant", "DROP DATABASE `plant`"),
    ] {
        let folded = fold(sql.as_bytes(), SqlMode::default()).expect("is DDL");
        assert_eq!(String::from_utf8(folded).expect("is UTF-8"), wanted, "{sql}");
    }
}

#[test]
fn text_of_a_client_becomes_utf_8() {
    let text = |sql: &[u8], collation: u16| -> Option<String> {
        String::from_utf8(utf8(sql, collation, SqlMode::default())?.into_owned()).ok()
    };
    let some = |text: &str| Some(text.to_owned());
    // The second byte of the character is a backslash.
    assert_eq!(text(b"COMMENT '\xd5\x5c'", 28), some("COMMENT '誠'"));
    assert_eq!(text(b"\x80 '\x80'", 8), some("€ '€'"));
    assert_eq!(text(b"ADD\xa0c\xa0INT COMMENT 'a\xa0b'", 8), some("ADD c INT COMMENT 'a\u{a0}b'"));
    assert_eq!(text(b"DEFAULT _gbk'\xd6\xd0'", 8), some("DEFAULT _gbk x'd6d0'"));
    assert_eq!(text(b"DEFAULT _utf8mb4'\xc3\xa9' 'x'", 8), None, "the string goes on");
    assert_eq!(text(b"N'\xe9'", 8), None, "the server takes it for UTF-8");
    assert_eq!(text(b"'\xd5'", 28), None, "half a character");
    assert_eq!(text(b"SELECT '\xff'", 9999), None, "an unknown character set");
    assert_eq!(text(b"SELECT `a`", 10), None, "letters of swe7");
    assert_eq!(text(b"BEGIN", 10), some("BEGIN"));
}
