//! Values: every kind lands as it was at the source, on both servers.

use crate::device::{Change, Device, Value, bytes, column, int, table, text};
use crate::shard::{apply_all, query, target, unique};
use proptest::prelude::*;
use tributary_sync_worker::ddl::collation;
use tributary_testkit::Flavour;
use tributary_wire::{ColumnKind, ColumnShape};

async fn store(
    flavour: Flavour,
    types: &str,
    columns: Vec<ColumnShape>,
    rows: &[Vec<Value>],
    select: &str,
) -> Vec<String> {
    let (mut target, mut device) = (target(flavour).await, Device::new(&unique("val")));
    device.ddl(&format!("CREATE TABLE t (id INT PRIMARY KEY, {types})"));
    let mut all = vec![column("id", ColumnKind::Integer)];
    all.extend(columns);
    let t = table("t", all, 1);
    let with_id = |(id, row): (i64, &Vec<Value>)| {
        let mut values = vec![int(id)];
        values.extend(row.iter().cloned());
        Change::Insert(values)
    };
    let changes: Vec<Change> = (0..).zip(rows).map(with_id).collect();
    device.transaction(&t, &changes);
    let batch = device.batch();
    apply_all(&mut target, &device.id, &[&batch]).await;
    query(&mut target, &format!("SELECT {select} FROM `{}__app`.t ORDER BY id", device.id)).await
}

fn scaled(name: &str, kind: ColumnKind, scale: u16) -> ColumnShape {
    ColumnShape { scale, ..column(name, kind) }
}

fn charset(name: &str, collation: u16) -> ColumnShape {
    ColumnShape { collation, ..column(name, ColumnKind::Text) }
}

#[tokio::test]
async fn numbers_keep_their_last_digit() {
    let columns = vec![
        column("i", ColumnKind::Integer),
        ColumnShape { unsigned: true, ..column("u", ColumnKind::Integer) },
        column("f", ColumnKind::Float),
        column("d", ColumnKind::Double),
        column("n", ColumnKind::Decimal),
        column("b", ColumnKind::Bit),
        column("y", ColumnKind::Year),
    ];
    let rows = [
        vec![
            int(i64::MIN),
            Value::UInt(u64::MAX),
            Value::F32(f32::MAX),
            Value::F64(f64::MIN_POSITIVE),
            text("-99999999999999999999999999999999999.999999999999999999999999999999"),
            Value::UInt(u64::MAX),
            int(0),
        ],
        vec![
            int(-1),
            int(0),
            Value::F32(0.1),
            Value::F64(0.1 + 0.2),
            text("0.000000000000000000000000000001"),
            int(0),
            int(2155),
        ],
    ];
    let types =
        "i BIGINT, u BIGINT UNSIGNED, f FLOAT, d DOUBLE, n DECIMAL(65,30), b BIT(64), y YEAR";
    for flavour in Flavour::ALL {
        let select = "i, u, f = 3.4028234663852886e38, d, n, b + 0, CAST(y AS CHAR)";
        let stored = store(flavour, types, columns.clone(), &rows, select).await;
        assert_eq!(
            stored[0],
            "-9223372036854775808|18446744073709551615|1|2.2250738585072014e-308|\
             -99999999999999999999999999999999999.999999999999999999999999999999|18446744073709551615|0000",
            "{flavour}"
        );
        assert!(
            stored[1].contains("|0.30000000000000004|0.000000000000000000000000000001|0|2155"),
            "{stored:?}"
        );
    }
}

#[tokio::test]
async fn dates_and_times_are_stored_as_they_are_even_when_they_are_no_dates() {
    let columns = vec![
        column("d", ColumnKind::Date),
        scaled("t", ColumnKind::Time, 6),
        scaled("dt", ColumnKind::DateTime, 3),
        scaled("ts", ColumnKind::Timestamp, 2),
    ];
    let datetime = |y: i64, mo: i64, d: i64, us: i64| (((y * 13 + mo) << 5 | d) << 17) << 24 | us;
    let rows = [
        vec![int(0), int(0), int(0), int(0)],
        vec![
            int(2024 << 9 | 2 << 5 | 31),
            int(-3_020_399_000_000),
            int(datetime(2024, 0, 0, 0)),
            int(1_000_000),
        ],
        vec![
            int(9999 << 9 | 12 << 5 | 31),
            int(-500_000),
            int(datetime(9999, 12, 31, 999_000)),
            int(2_147_483_647_990_000),
        ],
        vec![Value::Null, Value::Null, Value::Null, Value::Null],
    ];
    let types = "d DATE, t TIME(6), dt DATETIME(3), ts TIMESTAMP(2) NULL";
    for flavour in Flavour::ALL {
        let stored = store(flavour, types, columns.clone(), &rows, "d, t, dt, ts").await;
        assert_eq!(
            stored,
            [
                "0000-00-00|00:00:00.000000|0000-00-00 00:00:00.000|0000-00-00 00:00:00.00",
                "2024-02-31|-838:59:59.000000|2024-00-00 00:00:00.000|1970-01-01 00:00:01.00",
                "9999-12-31|-00:00:00.500000|9999-12-31 00:00:00.999|2038-01-19 03:14:07.99",
                "~|~|~|~",
            ],
            "{flavour}"
        );
    }
}

#[tokio::test]
async fn text_keeps_its_bytes_in_every_character_set() {
    let columns = vec![
        charset("u8", 45),
        charset("l1", 8),
        charset("gb", 28),
        charset("u16", 54),
        charset("sj", 13),
    ];
    let types = "u8 VARCHAR(50) CHARACTER SET utf8mb4, l1 VARCHAR(50) CHARACTER SET latin1, \
                 gb VARCHAR(50) CHARACTER SET gbk, u16 VARCHAR(50) CHARACTER SET utf16, \
                 sj VARCHAR(50) CHARACTER SET sjis";
    // gbk and sjis hold a backslash as the second byte of a character.
    let gbk = [0xb0, 0x5c, 0xc4, 0xe3];
    let sjis = [0x95, 0x5c, 0x8e, 0xa6];
    let utf16 = [0xd8, 0x3d, 0xde, 0x00, 0x00, 0x27, 0x00, 0x5c];
    let rows = [
        vec![
            text("é'\"\\\0\n\r\x1a😀%_"),
            bytes(b"\xe9'\\\x80"),
            bytes(&gbk),
            bytes(&utf16),
            bytes(&sjis),
        ],
        vec![text(""), bytes(b""), bytes(b""), bytes(b""), bytes(b"")],
        vec![text("x  "), bytes(b"x  "), bytes(b"x  "), bytes(&[0, 0x78, 0, 0x20]), bytes(b"x ")],
    ];
    for flavour in Flavour::ALL {
        let select =
            "HEX(u8), HEX(l1), HEX(gb), HEX(u16), HEX(sj), CHAR_LENGTH(gb), CHAR_LENGTH(u16)";
        let stored = store(flavour, types, columns.clone(), &rows, select).await;
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02X}")).collect::<String>();
        assert_eq!(
            stored,
            [
                format!(
                    "{}|E9275C80|{}|{}|{}|2|3",
                    hex("é'\"\\\0\n\r\x1a😀%_".as_bytes()),
                    hex(&gbk),
                    hex(&utf16),
                    hex(&sjis)
                ),
                "|||||0|0".to_owned(),
                "782020|782020|782020|00780020|7820|3|2".to_owned(),
            ],
            "{flavour}"
        );
    }
}

#[tokio::test]
async fn rows_are_found_by_text_keys_of_every_character_set() {
    for flavour in Flavour::ALL {
        for (set, collation, key) in [
            ("utf8mb4 COLLATE utf8mb4_general_ci", 45, "é'\\".as_bytes().to_vec()),
            ("latin1", 8, b"\xe9'\\".to_vec()),
            ("gbk", 28, vec![0xb0, 0x5c]),
            ("utf16", 54, vec![0xd8, 0x3d, 0xde, 0x00, 0x00, 0x5c]),
        ] {
            let (mut target, mut device) = (target(flavour).await, Device::new(&unique("key")));
            device.ddl(&format!(
                "CREATE TABLE t (k VARCHAR(20) CHARACTER SET {set} PRIMARY KEY, v INT)"
            ));
            let t = table("t", vec![charset("k", collation), column("v", ColumnKind::Integer)], 1);
            let keyless =
                table("l", vec![charset("k", collation), column("v", ColumnKind::Integer)], 0);
            device.ddl(&format!("CREATE TABLE l (k VARCHAR(20) CHARACTER SET {set}, v INT)"));
            let row = |v| vec![bytes(&key), int(v)];
            for shape in [&t, &keyless] {
                device.insert(shape, row(1));
                let batch = device.batch();
                apply_all(&mut target, &device.id, &[&batch]).await;
                device.transaction(shape, &[Change::Update(row(1), row(2))]);
                let batch = device.batch();
                apply_all(&mut target, &device.id, &[&batch]).await;
                let sql = format!("SELECT v FROM `{}__app`.{}", device.id, shape.table);
                assert_eq!(query(&mut target, &sql).await, ["2"], "{flavour} {set}");
                device.transaction(shape, &[Change::Delete(row(2))]);
                let batch = device.batch();
                apply_all(&mut target, &device.id, &[&batch]).await;
                assert_eq!(query(&mut target, &sql).await, [""; 0], "{flavour} {set}");
            }
        }
    }
}

#[tokio::test]
async fn a_character_set_that_the_target_changed_is_converted() {
    for flavour in Flavour::ALL {
        let stored = store(
            flavour,
            "l VARCHAR(20) CHARACTER SET utf8mb4",
            vec![charset("l", 8)],
            &[vec![bytes(b"\xe9'")]],
            "HEX(l)",
        )
        .await;
        assert_eq!(stored, ["C3A927"], "{flavour}");
    }
}

#[tokio::test]
async fn enums_sets_json_and_binaries_are_exact() {
    let columns = vec![
        column("e", ColumnKind::Enum),
        column("s", ColumnKind::Set),
        column("j", ColumnKind::Json),
        column("b", ColumnKind::Binary),
        column("g", ColumnKind::Geometry),
    ];
    let types = "e ENUM('a','b'), s SET('x','y','z'), j JSON, b BLOB, g GEOMETRY";
    // SRID 0, then WKB of POINT(1 2).
    let mut point = vec![0, 0, 0, 0, 1, 1, 0, 0, 0];
    point.extend(1f64.to_le_bytes());
    point.extend(2f64.to_le_bytes());
    let all_bytes: Vec<u8> = (0..=255).collect();
    let rows = [
        vec![int(2), int(5), text(r#"{"k": "é'\"\\ \u0000"}"#), bytes(&all_bytes), bytes(&point)],
        // 0 is the empty value that MySQL stores for what was no member.
        vec![int(0), int(0), text("null"), bytes(b""), Value::Null],
        vec![Value::Null, Value::Null, Value::Null, Value::Null, Value::Null],
    ];
    for flavour in Flavour::ALL {
        let select = "e + 0, CONCAT(e), s + 0, j, SHA2(b, 256), ST_AsText(g)";
        let stored = store(flavour, types, columns.clone(), &rows, select).await;
        let json = r#"{"k": "é'\"\\ \u0000"}"#;
        assert_eq!(
            stored[0],
            format!(
                "2|b|5|{json}|40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880|POINT(1 2)"
            ),
            "{flavour}"
        );
        assert!(stored[1].starts_with("0||0|null|e3b0c442"), "{stored:?}");
        assert_eq!(stored[2], "~|~|~|~|~|~");
    }
}

#[tokio::test]
async fn vectors_are_exact_on_mysql() {
    let vector: Vec<u8> = [0.1f32, -0.0, f32::MAX].iter().flat_map(|f| f.to_le_bytes()).collect();
    let columns = vec![column("v", ColumnKind::Vector)];
    let stored =
        store(Flavour::MySql, "v VECTOR(3)", columns, &[vec![bytes(&vector)]], "HEX(v)").await;
    let hex: String = vector.iter().map(|b| format!("{b:02X}")).collect();
    assert_eq!(stored, [hex]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn any_bytes_come_back_as_they_were(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for flavour in Flavour::ALL {
                let rows: Vec<Vec<Value>> = values.iter().map(|v| vec![bytes(v)]).collect();
                let columns = vec![column("b", ColumnKind::Binary)];
                let stored = store(flavour, "b BLOB", columns, &rows, "HEX(b)").await;
                let wanted: Vec<String> = values
                    .iter()
                    .map(|v| v.iter().map(|b| format!("{b:02X}")).collect())
                    .collect();
                assert_eq!(stored, wanted, "{flavour}");
            }
        });
    }
}

/// What a value would have to hold to end its literal, in each character set: quotes, comments, and
/// characters whose last byte is a backslash.
fn hostile(of_the_set: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let marks: [&[u8]; 12] = [
        b"'",
        b"\"",
        b"`",
        b"\\",
        b"\\'",
        b"''",
        b"\0",
        b"\x1a",
        b"\n",
        b"/*!",
        b"-- ",
        b"'); DROP TABLE t; -- ",
    ];
    let tokens: Vec<&[u8]> = marks.into_iter().chain(of_the_set.iter().copied()).collect();
    prop::collection::vec(prop::sample::select(tokens), 0..12).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn no_value_becomes_sql_in_any_character_set_or_sql_mode(
        rows in prop::collection::vec((
            hostile(&[b"\xb0\x5c", b"\xbf\x5c"]),
            hostile(&[b"\x95\x5c", b"\x83\x5c"]),
            hostile(&[b"\xa5\x5c", b"\xb3\x5c"]),
            hostile(&[b"\xca\xbc", b"\xe4\xb8\xad"]),
            hostile(&[b"\xff\x27", b"\xbf\x27", b"\x80"]),
        ), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let types = "g VARCHAR(200) CHARACTER SET gbk, s VARCHAR(200) CHARACTER SET sjis, \
                         b VARCHAR(200) CHARACTER SET big5, u VARCHAR(200) CHARACTER SET utf8mb4, \
                         l VARCHAR(200) CHARACTER SET latin1, y VARBINARY(200)";
            let columns = vec![
                charset("g", 28), charset("s", 13), charset("b", 1), charset("u", 45),
                charset("l", 8), column("y", ColumnKind::Binary),
            ];
            let rows: Vec<Vec<Value>> = rows
                .iter()
                .map(|(g, s, b, u, l)| [g, s, b, u, l, l].map(|value| bytes(value)).to_vec())
                .collect();
            let hex = |value: &Value| match value {
                Value::Bytes(value) => value.iter().map(|byte| format!("{byte:02X}")).collect::<String>(),
                other => panic!("{other:?}"),
            };
            let wanted: Vec<String> =
                rows.iter().map(|row| row.iter().map(hex).collect::<Vec<_>>().join("|")).collect();
            for flavour in Flavour::ALL {
                for mode in ["", "ANSI,NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH"] {
                    let mut by_hand = target(flavour).await;
                    let sql = format!("SET GLOBAL sql_mode='{mode}', GLOBAL character_set_client=gbk");
                    by_hand.session.run("set the server up", sql.as_bytes()).await.expect("is set");
                    let select = "HEX(g), HEX(s), HEX(b), HEX(u), HEX(l), HEX(y)";
                    let stored = store(flavour, types, columns.clone(), &rows, select).await;
                    assert_eq!(stored, wanted, "{flavour}, {mode}");
                }
            }
        });
    }
}

#[tokio::test]
async fn json_keeps_the_types_that_its_text_cannot_say() {
    let typed = concat!(
        "{\"n\": \u{1}N1.10\u{2}, \"big\": \u{1}N-12345678901234567890123456789.5\u{2}, \"i\": \u{1}N5\u{2}, ",
        "\"d\": \u{1}D0000-00-00\u{2}, \"t\": \u{1}T-838:59:59.000000\u{2}, ",
        "\"s\": \u{1}S2024-02-31 03:04:05.000006\u{2}, \"z\": \u{1}Z2024-01-02 03:04:05.000000\u{2}, ",
        "\"o\": [\u{1}O15:00ff\u{2}, \"' \\\\ \\\" ü\\n\", {\"' \\\" ü\": [1.5, null]}]}"
    );
    let rows = [vec![text(typed)], vec![text("\u{1}N7.0\u{2}")], vec![text("\u{1}O15:61\u{2}")]];
    for flavour in Flavour::ALL {
        let columns = vec![column("j", ColumnKind::Json)];
        let select = "CAST(j AS CHAR)";
        let stored = store(flavour, "j JSON", columns.clone(), &rows, select).await;
        for part in [
            "\"n\": 1.10",
            "\"big\": -12345678901234567890123456789.5",
            "\"i\": 5",
            "\"d\": \"0000-00-00\"",
            "\"t\": \"-838:59:59.000000\"",
            "\"s\": \"2024-02-31 03:04:05.000006\"",
            "\"z\": \"2024-01-02 03:04:05.000000\"",
            "[\"base64:type15:AP8=\", \"' \\\\ \\\" ü\\n\", {\"' \\\" ü\": [1.5, null]}]",
        ] {
            assert!(stored[0].contains(part), "{flavour}: {part} in {}", stored[0]);
        }
        assert_eq!(stored[1..], ["7.0", "\"base64:type15:YQ==\""], "{flavour}");
        if flavour == Flavour::MySql {
            let kinds = ["n", "i", "d", "t", "s", "o[0]"]
                .map(|path| format!("JSON_TYPE(JSON_EXTRACT(j, _utf8mb4'$.{path}'))"))
                .join(", ");
            let stored = store(flavour, "j JSON", columns, &rows, &kinds).await;
            assert_eq!(stored[0], "DECIMAL|DECIMAL|DATE|TIME|DATETIME|BLOB");
        }
    }
}

#[tokio::test]
async fn a_row_without_a_key_is_found_by_a_document_with_types() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("val")));
        device.ddl("CREATE TABLE t (j JSON)");
        let t = table("t", vec![column("j", ColumnKind::Json)], 0);
        let document = |n: &str| vec![text(&format!("[\u{1}N{n}\u{2}, \u{1}D2024-01-02\u{2}]"))];
        device.transaction(
            &t,
            &[
                Change::Insert(document("1.10")),
                Change::Insert(document("2.20")),
                Change::Update(document("1.10"), document("3.30")),
                Change::Delete(document("2.20")),
            ],
        );
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        let sql = format!("SELECT CAST(j AS CHAR) FROM `{}__app`.t", device.id);
        assert_eq!(query(&mut target, &sql).await, ["[3.30, \"2024-01-02\"]"], "{flavour}");
    }
}

/// What the numbers of MariaDB's newer collations are made of is used for shards that lack them.
#[tokio::test]
async fn the_numbers_of_collations_say_what_they_go_by() {
    let mut target = target(Flavour::MariaDb).await;
    let sql = "SELECT CAST(id AS CHAR), full_collation_name FROM \
               information_schema.collation_character_set_applicability \
               WHERE full_collation_name LIKE 'utf8mb4\\_uca1400%' AND full_collation_name NOT LIKE '%ai\\_cs'";
    let all = query(&mut target, sql).await;
    assert!(all.len() > 100, "{all:?}");
    for row in all {
        let (id, name) = row.split_once('|').expect("two columns");
        let id: u16 = id.parse().expect("a number");
        let sensitivity = &name[name.len() - 5..];
        let root = format!("utf8mb4_0900_{sensitivity}");
        let is_root = name.replace("nopad_", "") == format!("utf8mb4_uca1400_{sensitivity}");
        assert_eq!(collation::is_like(id, &root), is_root, "{id} {name}");
        assert_eq!(
            collation::is_like(id, &format!("utf8mb4_xx_0900_{sensitivity}")),
            !is_root,
            "{id} {name}"
        );
    }
}
