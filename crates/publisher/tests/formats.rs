//! The forms in which a server may write its log: compressed, split, with every type of column.

use crate::harness::{Lab, applied, changes, is_done};
use tributary_publisher::config::WhenLost;
use tributary_testkit::{Flavour, MySqlOptions};
use tributary_wire::{Batch, ColumnKind};

const DONE: [&str; 2] = ["USE app", "CREATE TABLE done (id INT)"];

/// What is published of `statements`, run in a database `app`.
async fn published(flavour: Flavour, arguments: &[&str], statements: &[&str]) -> Vec<String> {
    changes(&batches(flavour, arguments, statements).await)
}

async fn batches(flavour: Flavour, arguments: &[&str], statements: &[&str]) -> Vec<Batch> {
    let options = arguments.iter().fold(MySqlOptions::source(), |o, argument| o.argument(argument));
    let lab = Lab::start_with(flavour, &options).await;
    lab.sql(&["CREATE DATABASE app", "USE app"]).await;
    let statements: Vec<&str> = [&["USE app"], statements, &DONE].concat();
    lab.sql(&statements).await;
    let publisher = lab.publish();
    let got = lab.read_until(is_done).await;
    publisher.stop().await;
    got
}

/// Large and small transactions, of every kind of change.
const WORK: [&str; 9] = [
    "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(40), b LONGBLOB)",
    "INSERT INTO t (v) WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 900) SELECT CONCAT('row ', n) FROM s",
    "INSERT INTO t (v, b) VALUES ('large', REPEAT('x', 200000))",
    "BEGIN",
    "UPDATE t SET v = 'even' WHERE id % 2 = 0",
    "DELETE FROM t WHERE id % 3 = 0",
    "UPDATE t SET id = id + 10000 WHERE id < 10",
    "COMMIT",
    "CREATE TABLE u AS SELECT * FROM t WHERE id < 20",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_logs_are_read_like_plain_ones() {
    for (flavour, argument) in [
        (Flavour::MySql, "--binlog-transaction-compression=ON"),
        (Flavour::MariaDb, "--log-bin-compress=ON"),
    ] {
        let packed =
            published(flavour, &[argument, "--binlog-row-event-max-size=1024"], &WORK).await;
        let plain = published(flavour, &[], &WORK).await;
        assert!(plain.len() > 500, "{}", plain.len());
        assert_eq!(packed, plain, "{flavour}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_goes_on_inside_a_compressed_transaction() {
    for (flavour, argument) in [
        (Flavour::MySql, "--binlog-transaction-compression=ON"),
        (Flavour::MariaDb, "--log-bin-compress=ON"),
    ] {
        let options = MySqlOptions::source().argument(argument);
        let mut lab = Lab::start_with(flavour, &options).await;
        lab.batch_bytes = 16 << 10;
        lab.sql(&["CREATE DATABASE app", "USE app"]).await;
        lab.sql(&[&["USE app"], &WORK[..], &DONE].concat()).await;
        let first = lab.publish();
        let whole = lab.read_until(is_done).await;
        first.stop().await;
        let cut = whole.iter().find(|batch| !batch.header.end.is_boundary()).expect("a cut batch");
        // The target knows no more than the cut batch, and the stream is gone.
        lab.answer(Some(applied(cut)));
        std::fs::remove_file(lab.state.path().join("DEVICE_001.checkpoint.json")).expect("there");
        lab.nats.kill();
        lab.nats.wipe().expect("wiped");
        lab.nats.restart().expect("restarts");
        lab.open_cloud().await;
        let second = lab.publish();
        let rest = changes(&lab.read_from(cut.header.end, is_done).await);
        second.stop().await;
        let all = changes(&whole);
        assert!(rest.len() < all.len() && all.ends_with(&rest), "{flavour}");
    }
}

/// `'a','b',…` so many members.
fn members(count: usize) -> String {
    (1..=count).map(|n| format!("'m{n}'")).collect::<Vec<_>>().join(",")
}

/// Rows of one column each: its definition, then values and the cells that they become. Behind each
/// stand a signed and an unsigned number and a text, which are read wrongly when the column's metadata are
/// counted wrongly.
async fn columns_become(flavour: Flavour, columns: &[(&str, &[(&str, &str)])]) {
    columns_become_after(flavour, &[], columns).await;
}

async fn columns_become_after(
    flavour: Flavour,
    before: &[&str],
    columns: &[(&str, &[(&str, &str)])],
) {
    let mut statements = vec!["SET sql_mode = '', time_zone = '+00:00'".to_owned()];
    statements.extend(before.iter().map(|statement| (*statement).to_owned()));
    let mut expected = Vec::new();
    for (n, (definition, values)) in columns.iter().enumerate() {
        statements.push(format!(
            "CREATE TABLE c{n} (id INT PRIMARY KEY, c {definition}, i SMALLINT, u SMALLINT UNSIGNED, t TEXT CHARACTER SET utf8mb4)"
        ));
        for (id, (value, cell)) in values.iter().enumerate() {
            statements.push(format!(
                "INSERT INTO c{n} (id, c, i, u, t) VALUES ({id}, {value}, -1, 65535, 'é')"
            ));
            let tail = r"-1,65535,'\xc3\xa9'";
            expected.push(format!("app.c{n} + {id},{cell},{tail}"));
        }
    }
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    let batches = batches(flavour, &[], &statements).await;
    let shapes = batches.iter().flat_map(|batch| &batch.tables).map(|table| &table.shape);
    for shape in shapes.filter(|shape| shape.columns.len() == 5) {
        let unsigned: Vec<bool> =
            shape.columns[2..4].iter().map(|column| column.unsigned).collect();
        let text = &shape.columns[4];
        assert_eq!((unsigned, text.kind), (vec![false, true], ColumnKind::Text), "{shape:?}");
        // utf8mb4_0900_ai_ci, utf8mb4_general_ci: its own, whatever column stands before it.
        assert!(matches!(text.collation, 255 | 45), "{shape:?}");
    }
    let got = changes(&batches);
    let is_row = |change: &String| change.starts_with("app.c") && change.contains(" + ");
    let got: Vec<String> = got.into_iter().filter(is_row).collect();
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(got, expected, "{flavour}");
    }
    assert!(!expected.is_empty());
    assert_eq!(got.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_of_column_is_read_exactly() {
    let (many, set) = (format!("ENUM({})", members(300)), format!("SET({})", members(64)));
    let digits = format!("-{}.{}", "9".repeat(35), "1".repeat(30));
    let decimal = format!("'{digits}'");
    let all = members(64).replace("','", ",");
    let columns: [(&str, &[(&str, &str)]); 29] = [
        (
            &many,
            &[("'m1'", "1"), ("'m256'", "256"), ("300", "300"), ("'wrong'", "0"), ("NULL", "NULL")],
        ),
        (&set, &[("''", "0"), ("'m64'", "9223372036854775808"), (&all, "18446744073709551615")]),
        ("BIT(1)", &[("1", "1"), ("0", "0")]),
        ("BIT(9)", &[("b'100000001'", "257")]),
        ("BIT(64)", &[("18446744073709551615", "18446744073709551615")]),
        ("DECIMAL(65,30)", &[(&digits, &decimal), ("0", "'0.000000000000000000000000000000'")]),
        ("DECIMAL(3,3)", &[("-0.5", "'-0.500'")]),
        ("DECIMAL(10,0)", &[("-7", "'-7'"), ("0", "'0'")]),
        (
            "TIME",
            &[("'-838:59:59'", "-3020399000000"), ("'00:00:00'", "0"), ("'-00:00:01'", "-1000000")],
        ),
        ("TIME(1)", &[("'-00:00:00.1'", "-100000"), ("'10:00:00.9'", "36000900000")]),
        ("TIME(2)", &[("'-00:00:00.01'", "-10000"), ("'-01:02:03.99'", "-3723990000")]),
        ("TIME(3)", &[("'-00:00:00.001'", "-1000"), ("'00:00:00.125'", "125000")]),
        ("TIME(4)", &[("'-00:00:00.0001'", "-100"), ("'-00:00:59.9999'", "-59999900")]),
        ("TIME(5)", &[("'-00:00:00.00001'", "-10")]),
        ("TIME(6)", &[("'-00:00:00.000001'", "-1"), ("'838:59:58.999999'", "3020398999999")]),
        ("YEAR", &[("0", "0"), ("'0000'", "0"), ("1901", "1901"), ("2155", "2155")]),
        (
            "DATE",
            &[
                ("'0000-00-00'", "0"),
                ("'2024-00-00'", "1036288"),
                ("'2024-02-29'", "1036381"),
                ("'9999-12-31'", "5119903"),
            ],
        ),
        ("DATETIME", &[("'0000-00-00 00:00:00'", "0")]),
        ("DATETIME(6)", &[("'2024-02-00 23:59:58.000001'", "1851684779162861569")]),
        (
            "TIMESTAMP NULL",
            &[
                ("'0000-00-00 00:00:00'", "0"),
                ("'2038-01-19 03:14:07'", "2147483647000000"),
                ("'1970-01-01 00:00:01'", "1000000"),
            ],
        ),
        ("TIMESTAMP(3) NULL", &[("'2024-01-01 00:00:00.125'", "1704067200125000")]),
        (
            "POINT",
            &[(
                "ST_GeomFromText('POINT(1 2)')",
                r"'\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\x00@'",
            )],
        ),
        ("CHAR(255) CHARACTER SET utf8mb4", &[("'é '", r"'\xc3\xa9'"), ("''", "''")]),
        ("BINARY(255)", &[("REPEAT('a', 255)", const_a(255))]),
        ("VARBINARY(300)", &[(r"x'0100'", r"'\x01\x00'")]),
        ("TINYBLOB", &[("'a'", "'a'")]),
        ("MEDIUMTEXT CHARACTER SET latin1", &[("'é'", r"'\xe9'")]),
        ("FLOAT", &[("1.5", "1.5"), ("-0.1", "-0.1")]),
        ("DOUBLE", &[("1e300", &f64_text(1e300)), ("-0.1", "-0.1")]),
    ];
    for flavour in Flavour::ALL {
        columns_become(flavour, &columns).await;
    }
}

fn const_a(count: usize) -> &'static str {
    Box::leak(format!("'{}'", "a".repeat(count)).into_boxed_str())
}

fn f64_text(value: f64) -> String {
    value.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_types_of_one_server_alone_are_read_exactly() {
    let vector: (&str, &[(&str, &str)]) = (
        "VECTOR(3)",
        &[("STRING_TO_VECTOR('[1,2,0.5]')", r"'\x00\x00\x80?\x00\x00\x00@\x00\x00\x00?'")],
    );
    let typed = |tag_and_text: &str| format!(r"'\x01{tag_and_text}\x02'");
    let (decimal, date, time, stamp, blob, bits) = (
        typed("N12345678901234567890.1234567890"),
        typed("D2024-00-29"),
        typed("T-838:59:59.000000"),
        typed("S2024-02-29 10:11:12.125000"),
        typed("O252:00ff27"),
        typed("O16:0201"),
    );
    let nested = format!("'{}1{}'", "[".repeat(99), "]".repeat(99));
    let json: (&str, &[(&str, &str)]) = (
        "JSON",
        &[
            ("CAST(CAST('12345678901234567890.1234567890' AS DECIMAL(40,10)) AS JSON)", &decimal),
            ("CAST(CAST('1.25' AS DECIMAL(10,2)) AS JSON)", "'1.25'"),
            ("CAST(CAST('2024-00-29' AS DATE) AS JSON)", &date),
            ("CAST(CAST('-838:59:59' AS TIME) AS JSON)", &time),
            ("CAST(CAST('2024-02-29 10:11:12.125' AS DATETIME(3)) AS JSON)", &stamp),
            ("CAST(TIMESTAMP'2024-02-29 10:11:12.125' AS JSON)", &stamp),
            (
                "JSON_EXTRACT(JSON_ARRAY(CAST(x'00ff27' AS BINARY)), '$[0]')",
                r"'\x01O15:00ff27\x02'",
            ),
            ("(SELECT CAST(b AS JSON) FROM o)", &blob),
            ("(SELECT CAST(v AS JSON) FROM o)", &bits),
            ("(SELECT CAST(s AS JSON) FROM o)", r"'\x01Z2024-02-29 10:11:12.000000\x02'"),
            (
                r#"'{"b": [1, -2, 18446744073709551615, 0.1, 1e300, 1.0, true, null], "a\\u0001": "\\u0002é\\n"}'"#,
                r#"'{\"b\": [1, -2, 18446744073709551615, 0.1, 1e300, 1.0, true, null], \"a\\u0001\": \"\\u0002\xc3\xa9\\n\"}'"#,
            ),
            ("'{}'", "'{}'"),
            (&nested, &nested),
        ],
    );
    let options: [&str; 2] = [
        "CREATE TABLE o (b BLOB, v BIT(10), s TIMESTAMP)",
        "INSERT INTO o VALUES (x'00ff27', 513, '2024-02-29 10:11:12')",
    ];
    columns_become_after(Flavour::MySql, &options, &[vector, json]).await;
    let long = format!("REPEAT('x', {})", 3000);
    let long_cell = format!("'{}'", "x".repeat(3000));
    columns_become(
        Flavour::MariaDb,
        &[
            (
                "INET6",
                &[
                    (
                        "'2001:db8::1'",
                        r"' \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01'",
                    ),
                    ("'::'", r"'\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'"),
                ],
            ),
            ("INET4", &[("'192.0.2.0'", r"'\xc0\x00\x02\x00'")]),
            (
                "UUID",
                &[
                    (
                        "'123e4567-e89b-12d3-a456-426655440000'",
                        r"'\x12>Eg\xe8\x9b\x12\xd3\xa4VBfUD\x00\x00'",
                    ),
                    (
                        "'00112233-4455-7677-8899-aabbccddeeff'",
                        r#"'\x00\x11\"3DUvw\x88\x99\xaa\xbb\xcc\xdd\xee\xff'"#,
                    ),
                ],
            ),
            (
                "VARCHAR(4000) COMPRESSED CHARACTER SET utf8mb4",
                &[(&long, &long_cell), ("''", "''"), ("'é'", r"'\xc3\xa9'")],
            ),
            ("VARBINARY(200) COMPRESSED", &[(r"x'0001'", r"'\x00\x01'")]),
            ("TEXT COMPRESSED CHARACTER SET latin1", &[(&long, &long_cell), ("'é'", r"'\xe9'")]),
            ("LONGBLOB COMPRESSED", &[(&long, &long_cell), (r"x'00'", r"'\x00'")]),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_and_invisible_columns_come_and_hidden_ones_do_not() {
    let both = [
        "CREATE TABLE g (id INT PRIMARY KEY, v INT AS (id + 1) VIRTUAL, s INT AS (id + 2) STORED, i INT INVISIBLE DEFAULT 9)",
        "INSERT INTO g (id) VALUES (1)",
    ];
    let mysql = [
        "CREATE TABLE f (id INT PRIMARY KEY, j JSON, t VARCHAR(9), INDEX ((LOWER(t))), INDEX ((CAST(j->'$.x' AS UNSIGNED ARRAY))))",
        r#"INSERT INTO f VALUES (1, '{"x": [1, 2]}', 'T')"#,
        "SET SESSION sql_generate_invisible_primary_key = ON",
        "CREATE TABLE k (v INT)",
        "INSERT INTO k VALUES (5)",
        "UPDATE k SET v = 6",
        "SET SESSION sql_generate_invisible_primary_key = OFF",
    ];
    let mariadb = [
        "CREATE TABLE f (id INT PRIMARY KEY, a BLOB, b TEXT, UNIQUE (a), UNIQUE (b))",
        "INSERT INTO f VALUES (1, 'a', 'b')",
        "UPDATE f SET a = 'c'",
        "CREATE TABLE k (v INT, a BLOB UNIQUE)",
        "INSERT INTO k VALUES (5, 'x')",
        "DELETE FROM k",
    ];
    let cases: [(Flavour, &[&str], &[&str]); 2] = [
        (
            Flavour::MySql,
            &mysql,
            &[r#"app.f + 1,'{\"x\": [1, 2]}','T'"#, "app.k + 1,5", "app.k = 1,6"],
        ),
        (
            Flavour::MariaDb,
            &mariadb,
            &["app.f + 1,'a','b'", "app.f = 1,'c','b'", "app.k + 5,'x'", "app.k - 5,'x'"],
        ),
    ];
    for (flavour, own, expected) in cases {
        let got = published(flavour, &[], &[&both, own].concat()).await;
        let rows: Vec<&str> =
            got.iter().map(String::as_str).filter(|c| !c.contains("CREATE")).collect();
        assert_eq!(rows[0], "app.g + 1,2,3,9", "{flavour}");
        assert_eq!(rows[1..], *expected, "{flavour}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_behind_a_tagged_gtid_is_found_again() {
    let lab = Lab::start(Flavour::MySql).await;
    lab.sql(&[
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY)",
        "SET gtid_next = 'AUTOMATIC:north_1'",
        "INSERT INTO app.t VALUES (1)",
    ])
    .await;
    let first = lab.publish();
    let batches = lab.read_until(|batch| !batch.tables.is_empty()).await;
    first.stop().await;
    let gtid = batches.last().and_then(|batch| batch.header.resume.gtid.clone()).expect("a GTID");
    assert!(gtid.ends_with(":north_1:1"), "{gtid}");
    lab.answer(batches.last().map(applied));
    std::fs::remove_file(lab.state.path().join("DEVICE_001.checkpoint.json")).expect("there");
    lab.sql(&["INSERT INTO app.t VALUES (2)", DONE[0], DONE[1]]).await;
    let second = lab.publish();
    let got = changes(&lab.read_until(is_done).await);
    second.stop().await;
    assert!(got.contains(&"app.t + 2".to_owned()), "{got:?}");

    // And missed when it is gone: the same file name, long enough to hold the place.
    lab.answer(batches.last().map(applied));
    let _ = std::fs::remove_file(lab.state.path().join("DEVICE_001.checkpoint.json"));
    lab.sql(&[
        "RESET BINARY LOGS AND GTIDS",
        "CREATE TABLE app.f (id INT, v LONGTEXT)",
        "INSERT INTO app.f VALUES (1, REPEAT('x', 100000))",
    ])
    .await;
    let mut config = lab.config();
    config.snapshot.when_lost = WhenLost::Halt;
    let error = lab.publish_with(config).error().await.to_string();
    assert!(error.contains(&gtid) && error.contains("reset"), "{error}");
}
