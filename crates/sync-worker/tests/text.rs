//! The text of statements on real servers: characters, names without case.

use crate::device::{Device, statement};
use crate::shard::{query, run, target, unique};
use tributary_schema::{SqlMode, fold_name, utf8};
use tributary_sync_worker::apply::{self, Target};
use tributary_sync_worker::ddl;
use tributary_testkit::Flavour;
use tributary_wire::Statement;

/// Character sets whose characters are looked at, with the number of one of their collations.
const CHARSETS: [(&str, u16); 32] = [
    ("armscii8", 32),
    ("cp1250", 26),
    ("cp1251", 51),
    ("cp1256", 57),
    ("cp1257", 59),
    ("cp850", 4),
    ("cp852", 40),
    ("cp866", 36),
    ("dec8", 3),
    ("geostd8", 92),
    ("greek", 25),
    ("hebrew", 16),
    ("hp8", 6),
    ("keybcs2", 37),
    ("koi8r", 7),
    ("koi8u", 22),
    ("latin1", 8),
    ("latin2", 9),
    ("latin5", 30),
    ("latin7", 41),
    ("macce", 38),
    ("macroman", 39),
    ("tis620", 18),
    ("big5", 1),
    ("sjis", 13),
    ("cp932", 95),
    ("euckr", 19),
    ("gb2312", 24),
    ("gbk", 28),
    ("ujis", 12),
    ("eucjpms", 97),
    ("gb18030", 248),
];

/// Every byte, and of what may be a character of several bytes one in so many.
fn candidates(step: usize) -> Vec<Vec<u8>> {
    let pairs = (0x80..=0xff_u8).flat_map(|a| (0x30..=0xff).map(move |b| vec![a, b]));
    let triples = (0xa1..=0xfe_u8).flat_map(|a| (0xa1..=0xfe).map(move |b| vec![0x8f, a, b]));
    let fours = (0x81..=0xfe_u8).flat_map(|a| {
        (0x30..=0x39).flat_map(move |b| (0x81..=0xfe).map(move |c| vec![a, b, c, 0x30 + c % 10]))
    });
    let several = pairs.chain(triples).chain(fours).step_by(step);
    (1..=0xff_u8).map(|byte| vec![byte]).chain(several).collect()
}

/// The characters that the bytes are, in a string of a client that speaks this character set.
fn read(bytes: &[u8], collation: u16) -> Option<Vec<u8>> {
    if matches!(bytes, [b'\'' | b'\\']) {
        return None;
    }
    let literal = [b"'", bytes, b"'"].concat();
    let text = utf8(&literal, collation, SqlMode::default())?.into_owned();
    // A backslash ahead of the quote would be another literal.
    (std::str::from_utf8(&text).is_ok() && !text.contains(&b'\\')).then_some(())?;
    Some(text[1..text.len() - 1].to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn characters_of_every_client_are_those_of_both_servers() {
    let step = if std::env::var("TRIBUTARY_CASES").is_ok_and(|all| all == "all") { 1 } else { 37 };
    let candidates = candidates(step);
    for flavour in Flavour::ALL {
        let mut target = target(flavour).await;
        for (charset, collation) in CHARSETS {
            if charset == "gb18030" && flavour == Flavour::MariaDb {
                continue;
            }
            let read: Vec<(&Vec<u8>, Vec<u8>)> = candidates
                .iter()
                .filter_map(|bytes| Some((bytes, read(bytes, collation)?)))
                .collect();
            assert!(read.len() > 190, "{charset}: {}", read.len());
            for chunk in read.chunks(400) {
                let columns: Vec<String> = chunk
                    .iter()
                    .map(|(bytes, _)| {
                        let there = format!(
                            "CONVERT(CONVERT(x'{}' USING {charset}) USING utf8mb4)",
                            hex(bytes)
                        );
                        format!("CONCAT(HEX({there}),' ',HEX(CONVERT({there} USING {charset})))")
                    })
                    .collect();
                let found = query(&mut target, &format!("SELECT {}", columns.join(","))).await;
                let wanted: Vec<String> = chunk
                    .iter()
                    .map(|(bytes, text)| format!("{} {}", hex(text), hex(bytes)))
                    .collect();
                for (found, wanted) in found[0].split('|').zip(&wanted) {
                    assert_eq!(found, wanted, "{charset} on {flavour}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_without_case_are_folded_as_both_servers_do_it() {
    let letters: Vec<char> = (0x20..0x1_0000).filter_map(char::from_u32).collect();
    for flavour in Flavour::ALL {
        let mut target = target(flavour).await;
        for chunk in letters.chunks(2000) {
            let lower = |c: &char| {
                format!(
                    "HEX(LOWER(_utf8mb3 x'{}' COLLATE utf8mb3_general_ci))",
                    hex(c.to_string().as_bytes())
                )
            };
            let columns: Vec<String> = chunk.iter().map(lower).collect();
            let found = query(&mut target, &format!("SELECT {}", columns.join(","))).await;
            for (found, c) in found[0].split('|').zip(chunk) {
                let wanted = hex(fold_name(&c.to_string()).as_bytes());
                assert_eq!(found, wanted, "U+{:04X} on {flavour}", u32::from(*c));
            }
        }
    }
}

/// What a device must not see or touch: another one's table, and the accounts.
async fn canary(target: &mut Target) -> (String, Vec<String>) {
    let name = unique("canary").replace('-', "_");
    for sql in [
        format!("CREATE DATABASE {name}__app"),
        format!(
            "CREATE TABLE {name}__app.secret (id INT PRIMARY KEY, v VARCHAR(40)) CHARSET=utf8mb4"
        ),
        format!("INSERT INTO {name}__app.secret VALUES (1,'{name} is not yours')"),
        format!("CREATE TABLE {name}__app.v2 (id INT PRIMARY KEY)"),
    ] {
        run(target, &sql).await;
    }
    let state = state(target, &name).await;
    (name, state)
}

async fn state(target: &mut Target, name: &str) -> Vec<String> {
    let tables = query(
        target,
        &format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema='{name}__app' ORDER BY 1"
        ),
    )
    .await;
    let mut state = Vec::new();
    for table in tables {
        state.extend(query(target, &format!("SHOW CREATE TABLE {name}__app.`{table}`")).await);
        state.extend(query(target, &format!("SELECT * FROM {name}__app.`{table}`")).await);
    }
    state
}

/// Everything that can be read in a device's databases.
async fn readable(target: &mut Target, device: &str) -> String {
    let sql = format!(
        "SELECT CONCAT('`',table_schema,'`.`',table_name,'`') FROM information_schema.tables \
         WHERE LEFT(table_schema, {}) = '{device}__'",
        device.len() + 2
    );
    let mut seen = String::new();
    for table in query(target, &sql).await {
        for sql in
            [format!("SHOW CREATE TABLE {table}"), format!("SELECT * FROM {table} LIMIT 100")]
        {
            // A view over what is not there cannot be read.
            if target.session.run("look", sql.as_bytes()).await.is_ok() {
                seen.push_str(&query(target, &sql).await.join("\n"));
            }
        }
    }
    seen
}

/// Statements of a device that wants to see or touch what is `B__app`'s.
fn attacks() -> Vec<Statement> {
    let latin1 = |sql: &[u8]| Statement { sql: sql.to_vec(), charset_client: 8, ..statement("") };
    let in_database =
        |database: &str, sql: &str| Statement { database: database.to_owned(), ..statement(sql) };
    let mut attacks = vec![
        statement("CREATE /*! TABLE t (a INT) /*! SELECT * FROM B__app.secret */ */"),
        statement("CREATE TABLE t (a INT) /*!99999 /*!00000 ; DROP TABLE B__app.v2 */ */"),
        statement("CREATE TABLE t (a INT) /*M!100000 /*M!100000 SELECT v FROM B__app.secret */ */"),
        latin1(b"CREATE TABLE t (a INT) --\xa0'\n ; DROP TABLE B__app.v2 ; --\xa0'"),
        latin1(b"CREATE VIEW v AS SELECT --\xa0'\n s.* FROM B__app.secret s --\xa0'\n WHERE 1"),
        latin1(b"ALTER TABLE t --\xa0'\n RENAME TO B__app.planted --\xa0'"),
        statement("CREATE VIEW v AS SELECT x'41''a\\' c'; DROP TABLE B__app.v2; -- '"),
        statement(
            "CREATE VIEW v AS SELECT x'41''a\\' c', (SELECT GROUP_CONCAT(v) FROM B__app.secret), x'42''e\\' f'",
        ),
        statement(
            "CREATE VIEW v AS SELECT b'1''a\\' c', (SELECT GROUP_CONCAT(v) FROM B__app.secret), b'1''e\\' f'",
        ),
        in_database("", "DROP TABLE v2"),
        in_database("", "CREATE TABLE planted (a INT)"),
        in_database("", "CREATE VIEW app.v AS SELECT * FROM secret"),
        in_database("mysql", "CREATE VIEW app.v AS SELECT * FROM secret"),
        in_database("mysql", "CREATE VIEW app.v AS SELECT * FROM user"),
        statement("CREATE VIEW v AS SELECT * FROM mysql.user"),
        statement("CREATE VIEW v AS SELECT * FROM `MySQL` . `user`"),
        statement("CREATE VIEW v AS TABLE mysql.global_priv"),
        statement(
            "CREATE DEFINER=root@localhost SQL SECURITY DEFINER VIEW v AS SELECT * FROM information_schema.tables",
        ),
        statement("CREATE VIEW v AS SELECT * FROM (SELECT * FROM B__app.secret) x"),
        statement("CREATE VIEW v AS WITH x AS (SELECT * FROM B__app.secret) SELECT * FROM x"),
        statement("CREATE VIEW v AS SELECT (SELECT MAX(B__app.secret.v) FROM B__app.secret)"),
        statement("CREATE VIEW v AS SELECT * FROM t, B__app.secret"),
        statement("CREATE VIEW v AS SELECT EXTRACT(YEAR FROM NOW()) FROM B__app.secret"),
        statement("CREATE TABLE t2 LIKE B__app.secret"),
        statement("CREATE TABLE t3 (a INT, FOREIGN KEY (a) REFERENCES B__app.v2 (id))"),
        statement("RENAME TABLE t TO B__app.planted"),
        statement("ALTER TABLE B__app.v2 ADD c INT"),
        statement("TRUNCATE B__app.secret"),
        statement("DROP DATABASE B__app"),
        statement("CREATE TABLE t4 (a INT) ENGINE=MERGE UNION=(B__app.secret)"),
        statement("CREATE TABLE t (a INT); DROP TABLE B__app.v2"),
        statement(
            "CREATE TABLE t5 (a VARCHAR(9) DEFAULT _gbk'\u{815c}') COMMENT '; DROP TABLE B__app.v2'",
        ),
    ];
    for collation in [28, 1, 13, 95, 248, 10, 6, 26, 63] {
        // A lead byte ahead of a quote, a backslash as the second half of a character.
        for sql in [
            &b"CREATE TABLE g1 (a INT COMMENT '\x81' ; DROP TABLE B__app.v2 -- ')"[..],
            b"CREATE TABLE g2 (a INT COMMENT '\x81\x5c' ; DROP TABLE B__app.v2 -- ')",
            b"CREATE TABLE g3 (a INT COMMENT '\x5c\x81' ; DROP TABLE B__app.v2 -- ')",
            b"CREATE VIEW g4 AS SELECT `\x81`, B__app.secret.v` FROM B__app.secret",
            b"CREATE TABLE g5 (a INT) --\x81'\n ; DROP TABLE B__app.v2 ; -- '",
        ] {
            attacks.push(Statement {
                sql: sql.to_vec(),
                charset_client: collation,
                ..statement("")
            });
        }
    }
    for mode in [0x4, 0x10_0000, 0x10_0004] {
        for sql in [
            "CREATE TABLE m1 (a INT COMMENT 'x\\', b INT COMMENT ' ; DROP TABLE B__app.v2 -- ')",
            "CREATE VIEW m2 AS SELECT \"x\\\", v FROM B__app.secret -- \"",
            "CREATE VIEW m3 AS SELECT '\\'' , v FROM B__app.secret -- '",
        ] {
            attacks.push(Statement { sql_mode: mode, ..statement(sql) });
        }
    }
    attacks
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_of_a_device_shows_or_touches_what_is_anothers() {
    for flavour in Flavour::ALL {
        let mut target = target(flavour).await;
        let (name, before) = canary(&mut target).await;
        for mut attack in attacks() {
            let bytes = String::from_utf8_lossy(&attack.sql).into_owned();
            attack.sql = replaced(&attack.sql, b"B__app", format!("{name}__app").as_bytes());
            let mut device = Device::new(&unique("attacker").replace('-', "_"));
            device.ddl("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(40))");
            device.run(&attack);
            let batch = device.batch();
            // The database of the device before is the current one.
            run(&mut target, &format!("USE {name}__app")).await;
            let _ = attempt(&mut target, &device, &batch).await;
            let seen = readable(&mut target, device.id.as_str()).await;
            assert!(!seen.contains("is not yours"), "{flavour}: {bytes}: {seen}");
            assert!(!seen.contains("authentication_string"), "{flavour}: {bytes}: {seen}");
            assert_eq!(state(&mut target, &name).await, before, "{flavour}: {bytes}");
        }
    }
}

fn replaced(sql: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = sql;
    while let Some(at) = rest.windows(from.len()).position(|part| part == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// Applies a batch as far as it goes.
async fn attempt(
    target: &mut Target,
    device: &Device,
    batch: &tributary_wire::Batch,
) -> Option<()> {
    loop {
        let works = [crate::shard::work(&device.id, &[batch])];
        let outcomes = apply::apply(target, &works).await.ok()?;
        let barrier = outcomes.into_iter().next()?.pass.barrier?;
        ddl::apply(target, &device.id, &barrier).await.ok()?;
    }
}
