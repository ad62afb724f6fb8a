//! Tables of every kind: the copy has the same `SHOW CREATE TABLE`, and the same rows.

use super::case::{ON_MARIADB, ON_MYSQL, On, State};
use crate::lab::{arrived, equal, options, seed, start};
use anyhow::{Context, Result};
use fastrand::Rng;
use mysql_async::prelude::Queryable;
use tributary_testkit::Flavour::{self, MariaDb, MySql};
use tributary_testkit::audit;
use tributary_testkit::stack::connect;

/// A table, altered and written to.
#[derive(Clone, Copy)]
struct Definition {
    name: &'static str,
    on: On,
    statements: &'static [&'static str],
    state: State,
}

const fn both(name: &'static str, statements: &'static [&'static str]) -> Definition {
    Definition { name, on: On::Both, statements, state: State::Carried }
}

const fn mysql(name: &'static str, statements: &'static [&'static str]) -> Definition {
    Definition { name, on: ON_MYSQL, statements, state: State::Carried }
}

const fn mariadb(name: &'static str, statements: &'static [&'static str]) -> Definition {
    Definition { name, on: ON_MARIADB, statements, state: State::Carried }
}

const fn pending(why: &'static str, definition: Definition) -> Definition {
    Definition { state: State::Pending(why), ..definition }
}

const DEFINITIONS: &[Definition] = &[
    both(
        "generated",
        &[
            "CREATE TABLE gen (id INT PRIMARY KEY, a INT, v INT AS (a * 2) VIRTUAL, s VARCHAR(20) AS (CONCAT('<', a, '>')) STORED, KEY (v), KEY (s))",
            "INSERT INTO gen (id, a) VALUES (1, 1), (2, NULL), (3, -7)",
            "UPDATE gen SET a = a + 1",
            "ALTER TABLE gen ADD COLUMN w INT AS (a + id) STORED AFTER a, ADD COLUMN b INT DEFAULT 5",
            "INSERT INTO gen (id, a, b) VALUES (4, 4, 4)",
            "DELETE FROM gen WHERE id = 1",
        ],
    ),
    both(
        "generated_keyless",
        &[
            "CREATE TABLE generated_keyless (a INT, v INT AS (a * 2) VIRTUAL, s INT AS (a + 1) STORED)",
            "INSERT INTO generated_keyless (a) VALUES (1), (2), (2), (NULL)",
            "UPDATE generated_keyless SET a = 3 WHERE a = 2 LIMIT 1",
            "DELETE FROM generated_keyless WHERE a IS NULL",
        ],
    ),
    both(
        "generated_unique",
        &[
            "CREATE TABLE generated_unique (id INT PRIMARY KEY, a INT, u INT AS (a % 100) STORED, UNIQUE KEY (u))",
            "INSERT INTO generated_unique (id, a) VALUES (1, 101), (2, 202)",
            "UPDATE generated_unique SET a = -a",
            "UPDATE generated_unique SET a = 103 - a",
        ],
    ),
    mysql(
        "generated_key",
        &[
            "CREATE TABLE generated_key (a INT, k INT AS (a * 2) STORED PRIMARY KEY, b INT)",
            "INSERT INTO generated_key (a, b) VALUES (1, 1), (2, 2), (3, 3)",
            "UPDATE generated_key SET b = 20 WHERE a = 2",
            "UPDATE generated_key SET a = 9 WHERE a = 3",
            "DELETE FROM generated_key WHERE a = 1",
        ],
    ),
    mysql(
        "functional_index",
        &[
            "CREATE TABLE functional_index (id INT PRIMARY KEY, name VARCHAR(40), j JSON, KEY low ((LOWER(name))), KEY part ((CAST(j->>'$.a' AS UNSIGNED))))",
            "INSERT INTO functional_index VALUES (1, 'Aa', '{\"a\": 1}'), (2, NULL, NULL)",
            "UPDATE functional_index SET name = 'BB'",
            "ALTER TABLE functional_index ADD UNIQUE KEY u ((id * 10))",
            "INSERT INTO functional_index VALUES (3, 'c', '{\"a\": 7}')",
            "UPDATE functional_index SET id = id + 10",
        ],
    ),
    mysql(
        "functional_index_keyless",
        &[
            "CREATE TABLE functional_index_keyless (name VARCHAR(40), KEY low ((LOWER(name))))",
            "INSERT INTO functional_index_keyless VALUES ('Aa'), ('aA'), ('aA')",
            "DELETE FROM functional_index_keyless WHERE name = 'aA' LIMIT 1",
        ],
    ),
    mysql(
        "multi_valued_index",
        &[
            "CREATE TABLE multi_valued_index (id INT PRIMARY KEY, j JSON, KEY m ((CAST(j->'$.a' AS UNSIGNED ARRAY))))",
            "INSERT INTO multi_valued_index VALUES (1, '{\"a\": [1, 2]}'), (2, '{\"a\": []}')",
            "UPDATE multi_valued_index SET j = '{\"a\": [3]}' WHERE id = 1",
        ],
    ),
    mysql(
        "invisible_mysql",
        &[
            "CREATE TABLE invisible_mysql (id INT PRIMARY KEY, a INT INVISIBLE DEFAULT 3, b INT, KEY k (b) INVISIBLE)",
            "INSERT INTO invisible_mysql (id, a, b) VALUES (1, 1, 1)",
            "INSERT INTO invisible_mysql VALUES (2, 2)",
            "UPDATE invisible_mysql SET a = 9 WHERE id = 2",
        ],
    ),
    mysql(
        "invisible_key",
        &[
            "SET sql_generate_invisible_primary_key = ON",
            "CREATE TABLE invisible_key (a INT, b VARCHAR(10))",
            "SET sql_generate_invisible_primary_key = OFF",
            "INSERT INTO invisible_key VALUES (1, 'x'), (1, 'x'), (2, 'y')",
            "UPDATE invisible_key SET b = 'z' WHERE a = 1 LIMIT 1",
            "DELETE FROM invisible_key WHERE b = 'x'",
        ],
    ),
    mariadb(
        "invisible_mariadb",
        &[
            "CREATE TABLE invisible_mariadb (id INT PRIMARY KEY, a INT INVISIBLE DEFAULT 3, b INT, KEY k (b) IGNORED)",
            "INSERT INTO invisible_mariadb (id, a, b) VALUES (1, 1, 1)",
            "INSERT INTO invisible_mariadb VALUES (2, 2)",
            "UPDATE invisible_mariadb SET a = 9 WHERE id = 2",
        ],
    ),
    both(
        "expression_defaults",
        &[
            "CREATE TABLE expression_defaults (id INT PRIMARY KEY, a INT DEFAULT (1 + 2), u CHAR(36) DEFAULT (UUID()), n DOUBLE DEFAULT (RAND()), t TEXT DEFAULT ('x'), d DATE DEFAULT (CURRENT_DATE), ts TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6))",
            "INSERT INTO expression_defaults (id) VALUES (1), (2)",
            "UPDATE expression_defaults SET a = 7 WHERE id = 2",
        ],
    ),
    both(
        "check_constraints",
        &[
            "CREATE TABLE check_constraints (id INT PRIMARY KEY, a INT CHECK (a > 0), b INT, CONSTRAINT ab CHECK (a < b))",
            "INSERT INTO check_constraints VALUES (1, 1, 2)",
            "ALTER TABLE check_constraints ADD CONSTRAINT c CHECK (b < 1000)",
            "UPDATE check_constraints SET b = 999",
        ],
    ),
    mysql(
        "check_not_enforced",
        &[
            "CREATE TABLE check_not_enforced (id INT PRIMARY KEY, a INT, CONSTRAINT n CHECK (a > 0) NOT ENFORCED)",
            "INSERT INTO check_not_enforced VALUES (1, -1)",
        ],
    ),
    both(
        "check_over_violations",
        &[
            "CREATE TABLE check_over_violations (id INT PRIMARY KEY, a INT, CONSTRAINT dropped CHECK (a > 0))",
            "ALTER TABLE check_over_violations DROP CONSTRAINT dropped",
            "INSERT INTO check_over_violations VALUES (1, -1)",
        ],
    ),
    pending(
        "check_constraint_checks=0 on the device is not repeated at the shard",
        mariadb(
            "check_switched_off",
            &[
                "CREATE TABLE check_switched_off (id INT PRIMARY KEY, a INT, CONSTRAINT n CHECK (a > 0))",
                "SET check_constraint_checks = OFF",
                "INSERT INTO check_switched_off VALUES (1, -1)",
                "UPDATE check_switched_off SET a = -2",
                "SET check_constraint_checks = ON",
            ],
        ),
    ),
    both(
        "indexes",
        &[
            "CREATE TABLE indexes (id INT, b VARCHAR(100), c TEXT, d INT, PRIMARY KEY (id DESC), KEY down (d DESC, b), KEY prefix (b(10), c(20) DESC), FULLTEXT KEY words (b, c))",
            "INSERT INTO indexes VALUES (1, 'one', 'eins', 1), (2, NULL, NULL, NULL)",
            "ALTER TABLE indexes DROP KEY prefix, RENAME KEY down TO downward, ADD UNIQUE KEY u (d, id) COMMENT 'a comment'",
            "UPDATE indexes SET d = 5",
            "DELETE FROM indexes WHERE id = 1",
        ],
    ),
    both(
        "charsets_behind_geometry",
        &[
            "CREATE TABLE charsets_behind_geometry (g POINT, l VARCHAR(10) CHARACTER SET latin1, b BINARY(4), t TEXT CHARACTER SET gbk, k VARBINARY(4), u VARCHAR(10) CHARACTER SET utf8mb4, PRIMARY KEY (b, k))",
            "INSERT INTO charsets_behind_geometry VALUES (NULL, 'ä', X'0100', '汉', X'00', '🚲'), (NULL, 'ö', X'01', '字', X'', 'ü')",
            "UPDATE charsets_behind_geometry SET l = 'ß', t = NULL WHERE k = X'00'",
            "DELETE FROM charsets_behind_geometry WHERE k = X''",
        ],
    ),
    mysql(
        "charsets_behind_vector",
        &[
            "CREATE TABLE charsets_behind_vector (v VECTOR(2), l VARCHAR(10) CHARACTER SET latin1, b BINARY(4), t TEXT CHARACTER SET gbk, k VARBINARY(4), PRIMARY KEY (b, k))",
            "INSERT INTO charsets_behind_vector VALUES (NULL, 'ä', X'0100', '汉', X'00'), (NULL, 'ö', X'01', '字', X'')",
            "UPDATE charsets_behind_vector SET l = 'ß', t = NULL WHERE k = X'00'",
            "DELETE FROM charsets_behind_vector WHERE k = X''",
        ],
    ),
    both(
        "spatial_index",
        &[
            "CREATE TABLE spatial_index (id INT PRIMARY KEY, g POINT NOT NULL, SPATIAL KEY place (g))",
            "INSERT INTO spatial_index VALUES (1, ST_GeomFromText('POINT(1 2)')), (2, ST_GeomFromText('POINT(0 0)'))",
            "UPDATE spatial_index SET g = ST_GeomFromText('POINT(3 4)') WHERE id = 2",
        ],
    ),
    both(
        "prefix_key",
        &[
            "CREATE TABLE prefix_key (name TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci, n INT, PRIMARY KEY (name(3), n))",
            "INSERT INTO prefix_key VALUES ('abcdef', 1), ('abcxyz', 2), ('zz', 1)",
            "UPDATE prefix_key SET name = 'abcother' WHERE n = 1 AND name = 'abcdef'",
            "UPDATE prefix_key SET n = n + 10",
            "DELETE FROM prefix_key WHERE name = 'zz'",
        ],
    ),
    both(
        "key_order",
        &[
            "CREATE TABLE key_order (a INT, b VARCHAR(10) COLLATE utf8mb4_unicode_ci, c INT, PRIMARY KEY (c, a))",
            "INSERT INTO key_order VALUES (1, 'x', 2), (2, 'y', 1), (2, 'z', 2)",
            "UPDATE key_order SET c = c + 1 ORDER BY c DESC",
            "UPDATE key_order SET b = UPPER(b)",
            "DELETE FROM key_order WHERE a = 1",
        ],
    ),
    both(
        "case_of_a_key",
        &[
            "CREATE TABLE case_of_a_key (k VARCHAR(20) COLLATE utf8mb4_unicode_ci PRIMARY KEY, v INT)",
            "INSERT INTO case_of_a_key VALUES ('abc', 1), ('d', 2)",
            "UPDATE case_of_a_key SET k = 'ABC' WHERE k = 'abc'",
            "UPDATE case_of_a_key SET k = 'd   ' WHERE k = 'd'",
        ],
    ),
    both(
        "unique_null_key",
        &[
            "CREATE TABLE unique_null_key (a INT, b INT, UNIQUE KEY (a))",
            "INSERT INTO unique_null_key VALUES (NULL, 1), (NULL, 1), (1, 1)",
            "UPDATE unique_null_key SET b = 2 WHERE a IS NULL LIMIT 1",
            "DELETE FROM unique_null_key WHERE a = 1",
        ],
    ),
    pending(
        "a table whose key is a UNIQUE index of NOT NULL columns stops the device",
        both(
            "unique_not_null_key",
            &[
                "CREATE TABLE unique_not_null_key (a INT NOT NULL, b INT, UNIQUE KEY (a))",
                "INSERT INTO unique_not_null_key VALUES (3, 1), (2, 1), (1, 1)",
                "UPDATE unique_not_null_key SET b = 2 WHERE a = 3",
                "UPDATE unique_not_null_key SET a = a + 10",
                "DELETE FROM unique_not_null_key WHERE a = 11",
            ],
        ),
    ),
    both(
        "partitions_range",
        &[
            "CREATE TABLE partitions_range (id INT, d DATE, PRIMARY KEY (id, d)) PARTITION BY RANGE COLUMNS (d) (PARTITION p0 VALUES LESS THAN ('2020-01-01') COMMENT 'old', PARTITION p1 VALUES LESS THAN (MAXVALUE))",
            "INSERT INTO partitions_range VALUES (1, '2019-01-01'), (2, '2024-01-01'), (3, '2018-01-01')",
            "ALTER TABLE partitions_range REORGANIZE PARTITION p1 INTO (PARTITION p2 VALUES LESS THAN ('2024-06-01'), PARTITION p3 VALUES LESS THAN (MAXVALUE))",
            "UPDATE partitions_range SET d = '2025-01-01' WHERE id = 1",
            "ALTER TABLE partitions_range TRUNCATE PARTITION p0",
        ],
    ),
    both(
        "partition_dropped",
        &[
            "CREATE TABLE partition_dropped (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN (20))",
            "INSERT INTO partition_dropped VALUES (1), (11)",
            "ALTER TABLE partition_dropped DROP PARTITION a",
        ],
    ),
    both(
        "partition_exchanged",
        &[
            "CREATE TABLE partition_exchanged (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN (20))",
            "CREATE TABLE partition_source (id INT PRIMARY KEY)",
            "INSERT INTO partition_exchanged VALUES (1), (11)",
            "INSERT INTO partition_source VALUES (2), (3)",
            "ALTER TABLE partition_exchanged EXCHANGE PARTITION a WITH TABLE partition_source",
        ],
    ),
    both(
        "partitions_hash",
        &[
            "CREATE TABLE partitions_hash (id INT PRIMARY KEY, v INT) PARTITION BY HASH (id) PARTITIONS 4",
            "INSERT INTO partitions_hash VALUES (1, 1), (2, 2), (3, 3)",
            "ALTER TABLE partitions_hash COALESCE PARTITION 2",
        ],
    ),
    both(
        "partitions_list",
        &[
            "CREATE TABLE partitions_list (id INT, r VARCHAR(10) CHARACTER SET latin1, PRIMARY KEY (id, r)) PARTITION BY LIST COLUMNS (r) (PARTITION north VALUES IN ('n', 'nw'), PARTITION south VALUES IN ('s'))",
            "INSERT INTO partitions_list VALUES (1, 'n'), (2, 's')",
            "ALTER TABLE partitions_list ADD PARTITION (PARTITION east VALUES IN ('e'))",
            "UPDATE partitions_list SET r = 'e' WHERE id = 1",
        ],
    ),
    both(
        "comments",
        &[
            "CREATE TABLE comments (id INT PRIMARY KEY COMMENT 'it''s \\\\ a \"key\"', v INT COMMENT '汉字🚲') COMMENT='a table''s comment; 汉字'",
            "ALTER TABLE comments COMMENT='another'",
        ],
    ),
    both(
        "options",
        &[
            "CREATE TABLE options (id INT PRIMARY KEY) ENGINE=InnoDB ROW_FORMAT=DYNAMIC STATS_PERSISTENT=1 STATS_SAMPLE_PAGES=30 DEFAULT CHARSET=latin1",
            "ALTER TABLE options ADD c VARCHAR(10), ADD d VARCHAR(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "ALTER TABLE options CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
            "INSERT INTO options VALUES (1, 'ä', '汉')",
        ],
    ),
    both(
        "engine_myisam",
        &[
            "CREATE TABLE engine_myisam (id INT PRIMARY KEY, v VARCHAR(10)) ENGINE=MyISAM",
            "INSERT INTO engine_myisam VALUES (1, 'a'), (2, 'b')",
            "UPDATE engine_myisam SET v = 'c'",
            "DELETE FROM engine_myisam WHERE id = 1",
        ],
    ),
    both(
        "auto_increment",
        &[
            "CREATE TABLE auto_increment (id INT AUTO_INCREMENT PRIMARY KEY, v INT) AUTO_INCREMENT=1000",
            "INSERT INTO auto_increment (v) VALUES (1), (2), (3)",
            "INSERT INTO auto_increment VALUES (5000, 4)",
            "INSERT INTO auto_increment (v) VALUES (5)",
            "INSERT INTO auto_increment VALUES (0, 6), (-5, 7)",
        ],
    ),
    both(
        "auto_increment_moved",
        &[
            "CREATE TABLE auto_increment_moved (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, v INT)",
            "INSERT INTO auto_increment_moved (v) VALUES (1), (2)",
            "ALTER TABLE auto_increment_moved AUTO_INCREMENT=77777",
            "INSERT INTO auto_increment_moved VALUES (18446744073709551614, 9)",
        ],
    ),
    both(
        "names",
        &[
            "CREATE TABLE `we``ird 'name\" 表` (`co``l 'x\" 列` INT PRIMARY KEY, `select` INT, `a b` INT, KEY `k ``1` (`select`))",
            "INSERT INTO `we``ird 'name\" 表` VALUES (1, 2, 3)",
            "UPDATE `we``ird 'name\" 表` SET `select` = 5",
            "ALTER TABLE `we``ird 'name\" 表` RENAME COLUMN `a b` TO `c.d`",
            "DELETE FROM `we``ird 'name\" 表` WHERE `co``l 'x\" 列` = 9",
        ],
    ),
    both(
        "foreign_keys",
        &[
            "CREATE TABLE parents (id INT PRIMARY KEY)",
            "CREATE TABLE children (id INT PRIMARY KEY, parent INT, CONSTRAINT fk FOREIGN KEY (parent) REFERENCES parents (id))",
            "INSERT INTO parents VALUES (1), (2)",
            "INSERT INTO children VALUES (1, 1), (2, NULL)",
            "UPDATE children SET parent = 2",
            "SET foreign_key_checks = 0",
            "INSERT INTO children VALUES (3, 99)",
            "SET foreign_key_checks = 1",
        ],
    ),
    both(
        "altered",
        &[
            "CREATE TABLE altered (id INT PRIMARY KEY, a INT, b VARCHAR(10))",
            "INSERT INTO altered VALUES (1, 1, 'x'), (2, 2, NULL)",
            "ALTER TABLE altered MODIFY a BIGINT UNSIGNED NOT NULL DEFAULT 7 FIRST",
            "ALTER TABLE altered CHANGE b c VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "ALTER TABLE altered ADD d SET('p','q') DEFAULT 'p', ADD e ENUM('r','s') NOT NULL AFTER id, ADD KEY (c(5))",
            "ALTER TABLE altered DROP PRIMARY KEY, ADD PRIMARY KEY (id, a)",
            "INSERT INTO altered (id, c) VALUES (3, REPEAT('é', 300))",
            "ALTER TABLE altered ALTER d SET DEFAULT 'q', ALTER a DROP DEFAULT",
            "ALTER TABLE altered RENAME TO altered_again, DROP COLUMN e",
            "UPDATE altered_again SET d = 'p,q'",
            "CREATE TABLE altered LIKE altered_again",
            "INSERT INTO altered SELECT * FROM altered_again",
        ],
    ),
    both(
        "created_from_select",
        &[
            "CREATE TABLE selected_from (id INT PRIMARY KEY, f FLOAT, e ENUM('a','b'), t TIMESTAMP(3) NULL, v VARCHAR(5) CHARACTER SET gbk)",
            "INSERT INTO selected_from VALUES (1, 1.1, 'b', '2024-01-01 00:00:00.123', '汉'), (2, NULL, NULL, NULL, NULL)",
            "CREATE TABLE created_from_select (KEY (id)) AS SELECT *, id + 0.5 AS half, CONCAT(id, 'x') AS c FROM selected_from",
            "CREATE TABLE created_with_column (id BIGINT PRIMARY KEY, extra INT DEFAULT 3) AS SELECT id, f FROM selected_from",
        ],
    ),
    both(
        "temporary",
        &[
            "CREATE TEMPORARY TABLE not_copied (id INT PRIMARY KEY)",
            "INSERT INTO not_copied VALUES (1), (2)",
            "CREATE TABLE from_temporary (id INT PRIMARY KEY)",
            "INSERT INTO from_temporary SELECT * FROM not_copied",
            "DROP TEMPORARY TABLE not_copied",
        ],
    ),
    both(
        "many_bits",
        &[
            "CREATE TABLE many_bits (b1 BIT(1), b2 BIT(2), b3 BIT(3), b4 BIT(4), b5 BIT(5), b6 BIT(6), b7 BIT(7), b8 BIT(8), b9 BIT(9), b10 BIT(10), b11 BIT(11), b12 BIT(12), b13 BIT(13), b14 BIT(14), b15 BIT(15), b16 BIT(16), b17 BIT(17), b18 BIT(18), b19 BIT(19), b20 BIT(20), b21 BIT(21), b22 BIT(22), b23 BIT(23), b24 BIT(24), b33 BIT(33), b47 BIT(47), b55 BIT(55), b56 BIT(56), b57 BIT(57), b63 BIT(63), b64 BIT(64))",
            "INSERT INTO many_bits (b1, b3, b9, b17, b33, b57, b64) VALUES (1, 5, 257, 65537, 4294967297, 72057594037927937, 18446744073709551615)",
            "UPDATE many_bits SET b2 = 3, b64 = 1, b1 = NULL",
        ],
    ),
    both(
        "default_collations",
        &[
            "CREATE DATABASE in_latin1 CHARACTER SET latin1 COLLATE latin1_german2_ci",
            "CREATE TABLE in_latin1.t (id INT PRIMARY KEY, v VARCHAR(10))",
            "INSERT INTO in_latin1.t VALUES (1, 'äöü')",
            "ALTER DATABASE in_latin1 COLLATE latin1_bin",
            "CREATE TABLE in_latin1.u (id INT PRIMARY KEY, v VARCHAR(10))",
            "INSERT INTO in_latin1.u VALUES (1, 'äöü')",
        ],
    ),
    mariadb(
        "options_of_mariadb",
        &[
            "CREATE TABLE options_of_mariadb (id INT PRIMARY KEY) ENGINE=InnoDB PAGE_COMPRESSED=1",
            "INSERT INTO options_of_mariadb VALUES (1)",
        ],
    ),
    mariadb(
        "aria",
        &[
            "CREATE TABLE aria (id INT PRIMARY KEY, v INT) ENGINE=Aria TRANSACTIONAL=1",
            "INSERT INTO aria VALUES (1, 1), (2, 2)",
            "UPDATE aria SET v = 3",
        ],
    ),
    pending(
        "a key WITHOUT OVERLAPS takes no ON DUPLICATE KEY UPDATE, and its device is parked",
        mariadb(
            "period",
            &[
                "CREATE TABLE period (id INT, s DATE, e DATE, PERIOD FOR p (s, e), PRIMARY KEY (id, p WITHOUT OVERLAPS))",
                "INSERT INTO period VALUES (1, '2020-01-01', '2021-01-01')",
                "DELETE FROM period FOR PORTION OF p FROM '2020-03-01' TO '2020-04-01'",
                "UPDATE period FOR PORTION OF p FROM '2020-05-01' TO '2020-06-01' SET id = 2",
            ],
        ),
    ),
    mysql(
        "srid_and_index",
        &[
            "CREATE TABLE srid_and_index (id INT PRIMARY KEY, g GEOMETRY NOT NULL SRID 4326, SPATIAL KEY (g))",
            "INSERT INTO srid_and_index VALUES (1, ST_GeomFromText('POINT(10 20)', 4326))",
            "UPDATE srid_and_index SET g = ST_GeomFromText('POINT(-10 20)', 4326)",
            "DELETE FROM srid_and_index WHERE id = 2",
        ],
    ),
];

pub(super) fn states() -> impl Iterator<Item = State> {
    DEFINITIONS.iter().map(|definition| definition.state)
}

async fn definitions_arrive(flavour: Flavour) -> Result<()> {
    let mut options = options(&[flavour], &[flavour], 1)?;
    options.durable = false;
    let mut stack = start(&options).await?;
    let only = std::env::var("TRIBUTARY_CASES").unwrap_or_default();
    let only = if only == "all" { String::new() } else { only };
    let mut conn = connect(&stack.devices[0].server).await?;
    for statement in super::SESSION {
        conn.query_drop(statement).await?;
    }
    for definition in DEFINITIONS.iter().filter(|definition| definition.name.contains(&only)) {
        if definition.on != On::Both && definition.on != On::Only(flavour) {
            continue;
        }
        if let State::Pending(why) = definition.state {
            println!("{flavour}: {} is left out: {why}", definition.name);
            continue;
        }
        for statement in definition.statements {
            conn.query_drop(*statement).await.with_context(|| (*statement).to_owned())?;
        }
    }
    for statement in super::mixed::statements(&mut Rng::with_seed(seed()), flavour) {
        conn.query_drop(&statement).await.with_context(|| statement.clone())?;
    }
    arrived(&mut stack).await?;
    let device = &stack.devices[0];
    equal(&stack, device).await?;
    let (source, target) = (device.server.admin_url(), stack.shards[0].server.admin_url());
    let map = |database: &str| format!("{}__{database}", device.id);
    let verdict = audit::compare_definitions(&source, &target, None, map).await?;
    assert!(verdict.equal(), "{verdict}\n{:#?}", verdict.differences);
    assert!(verdict.tables > 0, "nothing was compared");
    Ok(())
}

#[tokio::test]
async fn definitions_arrive_from_mysql_at_mysql() -> Result<()> {
    definitions_arrive(MySql).await
}

#[tokio::test]
async fn definitions_arrive_from_mariadb_at_mariadb() -> Result<()> {
    definitions_arrive(MariaDb).await
}
