//! Tables whose columns are of random kinds and character sets, in random orders. The log tells the
//! character sets of a table apart from its columns, and in two ways, by which are the more.

use fastrand::Rng;
use tributary_testkit::Flavour;

const TABLES: usize = 40;
const COLUMNS_MAX: usize = 11;

/// Values that every type of text, and every type of bytes, takes.
const TEXTS: [&str; 6] = ["''", "'x'", "'ab '", "'0'", "NULL", r"'\\'"];
const BYTES: [&str; 6] = ["X''", "X'00'", "X'FF00'", "X'2020'", "NULL", "X'800041'"];
const CHARSETS: [&str; 7] = ["latin1", "utf8mb4", "utf8mb3", "gbk", "ascii", "ucs2", "binary"];

/// A column: its type and the values that it takes.
type Column = (String, Vec<&'static str>);

/// What makes the tables and writes to them.
pub(super) fn statements(random: &mut Rng, flavour: Flavour) -> Vec<String> {
    let mut statements = Vec::new();
    for table in 0..TABLES {
        let columns: Vec<Column> =
            (0..random.usize(1..=COLUMNS_MAX)).map(|_| column(random, flavour)).collect();
        let mut definitions: Vec<String> =
            columns.iter().enumerate().map(|(n, (kind, _))| format!("c{n} {kind}")).collect();
        let key = if random.u8(..5) > 0 { "PRIMARY KEY" } else { "" };
        let place = random.usize(..=definitions.len());
        definitions.insert(place, format!("id INT NOT NULL {key}"));
        let (name, all) = (format!("mixed_{table}"), definitions.join(", "));
        statements.push(format!("CREATE TABLE {name} ({all})"));
        for id in 0..4 {
            let set = assignments(random, &columns).join(", ");
            statements.push(format!("INSERT INTO {name} SET id = {id}, {set}"));
        }
        for id in 0..2 {
            let set = assignments(random, &columns).join(", ");
            statements.push(format!("UPDATE {name} SET {set} WHERE id = {id}"));
        }
        statements.push(format!("DELETE FROM {name} WHERE id = 2"));
    }
    statements
}

fn assignments(random: &mut Rng, columns: &[Column]) -> Vec<String> {
    let mut value = |(n, (_, values)): (usize, &Column)| {
        format!("c{n} = {}", values[random.usize(..values.len())])
    };
    columns.iter().enumerate().map(&mut value).collect()
}

fn column(random: &mut Rng, flavour: Flavour) -> Column {
    let charset = CHARSETS[random.usize(..CHARSETS.len())];
    let compressed = flavour == Flavour::MariaDb && random.u8(..4) == 0;
    let compressed = if compressed { " COMPRESSED" } else { "" };
    let text = |kind: &str| {
        let values = if charset == "binary" { BYTES } else { TEXTS };
        (format!("{kind} CHARACTER SET {charset}"), values.to_vec())
    };
    match random.u8(..14) {
        0 | 1 => text("CHAR(10)"),
        2 => text(&format!("VARCHAR(20){compressed}")),
        3 => text(&format!("TEXT{compressed}")),
        4 => ("BINARY(9)".into(), BYTES.to_vec()),
        5 => ("VARBINARY(300)".into(), BYTES.to_vec()),
        6 => (["BLOB", "LONGBLOB"][random.usize(..2)].into(), BYTES.to_vec()),
        7 => (format!("ENUM('a','b') CHARACTER SET {charset}"), vec!["'a'", "'b'", "NULL"]),
        8 => (format!("SET('a','b') CHARACTER SET {charset}"), vec!["''", "'a,b'", "NULL"]),
        9 => ("INT UNSIGNED".into(), vec!["0", "4000000000", "NULL"]),
        10 => ("GEOMETRY".into(), vec!["NULL", "ST_GeomFromText('POINT(1 2)')"]),
        11 => ("DATETIME(3)".into(), vec!["NULL", "'2001-02-03 04:05:06.789'"]),
        12 if flavour == Flavour::MySql => {
            ("VECTOR(2)".into(), vec!["NULL", "X'0000803F00000040'"])
        }
        12 => ("UUID".into(), vec!["NULL", "'123e4567-e89b-12d3-a456-426655440000'"]),
        _ if flavour == Flavour::MySql => ("JSON".into(), vec!["NULL", "'[1]'"]),
        _ => ("INET6".into(), vec!["NULL", "'::1'"]),
    }
}
