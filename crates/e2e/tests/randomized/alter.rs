//! Who alters the tables of a seed while they are written to.

use super::Progress;
use super::kinds::Kinds;
use super::writer::Session;
use anyhow::Result;
use fastrand::Rng;
use std::sync::Arc;

const TABLES: [&str; 6] = ["keyed", "composite", "names", "bare", "uniq", "big"];
const COLUMNS: [&str; 6] = [
    "INT NOT NULL DEFAULT 7",
    "VARCHAR(30) DEFAULT 'x'",
    "DECIMAL(9,3)",
    "ENUM('a','b') DEFAULT 'b'",
    "DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3)",
    "BINARY(3)",
];

/// So many alterations.
pub(super) async fn alter(
    url: String,
    database: String,
    mut random: Rng,
    alterations: u64,
    progress: Arc<Progress>,
    kinds: Arc<Kinds>,
) -> Result<()> {
    let mut session = Session::open(&url, &database, progress).await?;
    let mut added: Vec<(&str, String)> = Vec::new();
    let mut drawn = Rng::with_seed(random.u64(..));
    for n in 0..alterations {
        let statements = match kinds.alteration(&mut drawn) {
            Some(statement) => vec![statement],
            None => statements(&mut random, n, &mut added),
        };
        for statement in statements {
            // What comes after builds on it.
            if !session.run(&kinds.typed(&statement, &mut drawn)).await? {
                break;
            }
        }
        session.done();
    }
    Ok(())
}

fn statements(random: &mut Rng, n: u64, added: &mut Vec<(&'static str, String)>) -> Vec<String> {
    let table = TABLES[random.usize(..TABLES.len())];
    let kind = COLUMNS[random.usize(..COLUMNS.len())];
    let one = match random.u32(..19) {
        0..=2 => {
            added.push((table, format!("c{n}")));
            let place = ["", " FIRST"][random.usize(..2)];
            format!("ALTER TABLE {table} ADD COLUMN c{n} {kind}{place}")
        }
        3 if !added.is_empty() => {
            let (table, column) = added.swap_remove(random.usize(..added.len()));
            format!("ALTER TABLE {table} DROP COLUMN {column}")
        }
        4 if !added.is_empty() => {
            let at = random.usize(..added.len());
            let (table, column) = added[at].clone();
            added[at].1 = format!("r{n}");
            format!("ALTER TABLE {table} RENAME COLUMN {column} TO r{n}")
        }
        5 if !added.is_empty() => {
            let (table, column) = added[random.usize(..added.len())].clone();
            format!("ALTER TABLE {table} MODIFY COLUMN {column} VARCHAR({})", random.u32(30..200))
        }
        6 => format!("ALTER TABLE keyed MODIFY b {}", ["TEXT", "VARCHAR(250)"][random.usize(..2)]),
        // A table is replaced by its successor.
        7 | 8 => {
            return vec![
                format!("CREATE TABLE next LIKE {table}"),
                format!("INSERT INTO next SELECT * FROM {table}"),
                format!("RENAME TABLE {table} TO last, next TO {table}"),
                "DROP TABLE last".to_owned(),
            ];
        }
        9 => format!("CREATE TABLE copy_{n} AS SELECT * FROM {table}"),
        10 => {
            return vec![
                "DROP TABLE bare".to_owned(),
                "CREATE TABLE bare (a INT, b VARCHAR(20), c BIT(9), KEY (a))".to_owned(),
            ];
        }
        11 => format!("TRUNCATE TABLE {table}"),
        12 => format!("ALTER TABLE keyed ADD KEY k{n} (a, b(10))"),
        13 => format!("CREATE INDEX i{n} ON composite (v)"),
        // Away and back again.
        14 => {
            return vec![
                format!("RENAME TABLE {table} TO apart_{n}"),
                format!("ALTER TABLE apart_{n} RENAME TO {table}"),
            ];
        }
        15 => {
            let key = ["x, y", "y, x"][random.usize(..2)];
            format!("ALTER TABLE composite DROP PRIMARY KEY, ADD PRIMARY KEY ({key})")
        }
        16 => {
            return vec![
                "ALTER TABLE names DROP PRIMARY KEY".to_owned(),
                "ALTER TABLE names ADD PRIMARY KEY (k)".to_owned(),
            ];
        }
        17 => format!(
            "ALTER TABLE {table} COMMENT='number {n}', ADD COLUMN g{n} INT AS (1 + {n}) STORED"
        ),
        _ => {
            let other = format!("DROP TABLE IF EXISTS copy_{}, not_there", random.u64(..=n));
            return vec![other, format!("ALTER TABLE names ADD UNIQUE KEY n{n} (n)")];
        }
    };
    vec![one]
}
