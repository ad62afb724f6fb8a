//! What is done with the values of a case. Four tables: all values by number; every ordered pair of
//! them, to be updated from the first to the second; a table without a key; and, where the type can be
//! one, a table with the value as its primary key.

use super::case::{Case, Key};

/// So many values meet each other in pairs.
const PAIRED: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Insert,
    Update,
    Delete,
}

impl Phase {
    pub(super) const ALL: [Phase; 3] = [Phase::Insert, Phase::Update, Phase::Delete];
}

/// The tables of a case.
pub(super) fn tables(case: &Case) -> Vec<String> {
    let suffixes: &[&str] =
        if case.key == Key::No { &["v", "p", "b"] } else { &["v", "p", "b", "k"] };
    suffixes.iter().map(|suffix| format!("{}_{suffix}", case.name)).collect()
}

/// The statements of one phase.
pub(super) fn statements(case: &Case, phase: Phase) -> Vec<String> {
    let mut statements = match phase {
        Phase::Insert => insert(case),
        Phase::Update => update(case),
        Phase::Delete => delete(case),
    };
    if case.key == Key::No {
        let keyed = format!("{}_k", case.name);
        statements.retain(|statement| !statement.contains(&keyed));
    }
    statements
}

/// A strict session does not even copy what it would not take.
fn ignore(case: &Case) -> &'static str {
    if case.bent.is_empty() { "" } else { "IGNORE " }
}

fn insert(case: &Case) -> Vec<String> {
    let Case { name, lead, column, .. } = case;
    let ignore = ignore(case);
    let key = match case.key {
        Key::Prefix(length) => format!("v({length})"),
        Key::Whole | Key::No => "v".to_owned(),
    };
    let mut statements = vec![
        format!("CREATE TABLE {name}_v (id INT PRIMARY KEY, {lead}v {column} NULL)"),
        format!("CREATE TABLE {name}_p (a INT, b INT, {lead}v {column} NULL, PRIMARY KEY (a, b))"),
        format!("CREATE TABLE {name}_b ({lead}v {column} NULL)"),
        format!("CREATE TABLE {name}_k ({lead}v {column} NOT NULL, n INT, PRIMARY KEY ({key}))"),
        format!("INSERT INTO {name}_v (id, v) VALUES (1, NULL)"),
    ];
    for (id, value) in (2..).zip(&case.bent) {
        statements.push(format!("INSERT IGNORE INTO {name}_v (id, v) VALUES ({id}, {value})"));
    }
    for (id, value) in (2 + case.bent.len()..).zip(&case.values) {
        statements.push(format!("INSERT INTO {name}_v (id, v) VALUES ({id}, {value})"));
    }
    statements.extend([
        format!(
            "INSERT {ignore}INTO {name}_p (a, b, v) SELECT a.id, b.id, a.v FROM {name}_v a, {name}_v b \
             WHERE a.id <= {PAIRED} AND b.id <= {PAIRED}"
        ),
        format!("INSERT {ignore}INTO {name}_b (v) SELECT v FROM {name}_v ORDER BY id"),
        format!(
            "INSERT IGNORE INTO {name}_k (v, n) SELECT v, id FROM {name}_v \
             WHERE v IS NOT NULL AND id % 2 = 0 ORDER BY id"
        ),
    ]);
    statements
}

fn update(case: &Case) -> Vec<String> {
    let name = &case.name;
    let ignore = ignore(case);
    let last = 1 + case.bent.len() + case.values.len();
    vec![
        format!("UPDATE {ignore}{name}_p p JOIN {name}_v v ON v.id = p.b SET p.v = v.v"),
        // Rows without a key are found by what they held.
        format!("UPDATE {ignore}{name}_b SET v = (SELECT v FROM {name}_v WHERE id = 2) LIMIT 1"),
        format!(
            "UPDATE {ignore}{name}_b SET v = (SELECT v FROM {name}_v WHERE id = {last}) LIMIT 3"
        ),
        format!(
            "UPDATE IGNORE {name}_k k JOIN {name}_v v ON v.id = k.n + 1 SET k.v = v.v, k.n = k.n + 1000 \
             WHERE v.v IS NOT NULL"
        ),
        format!(
            "INSERT IGNORE INTO {name}_k (v, n) SELECT v, id + 2000 FROM {name}_v WHERE v IS NOT NULL \
             ORDER BY id LIMIT 8"
        ),
        format!("UPDATE {name}_k SET n = n + 1"),
    ]
}

fn delete(case: &Case) -> Vec<String> {
    let name = &case.name;
    let half = (1 + case.bent.len() + case.values.len()) / 2;
    vec![
        format!("DELETE FROM {name}_p WHERE (a + b) % 2 = 0"),
        // Not in the order of insertion, in which the target would find them as well.
        format!("DELETE FROM {name}_b ORDER BY LEFT(CAST(v AS BINARY), 100) DESC LIMIT {half}"),
        format!("DELETE FROM {name}_k WHERE n % 3 = 0"),
        format!(
            "REPLACE INTO {name}_k (v, n) SELECT v, id + 3000 FROM {name}_v \
             WHERE v IS NOT NULL AND id % 2 = 0 ORDER BY id"
        ),
        format!("DELETE FROM {name}_v WHERE id % 3 = 0"),
    ]
}
