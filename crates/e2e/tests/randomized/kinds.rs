//! What a seed has beside its six tables, each kind with tables and statements of its own. `TRIBUTARY_KINDS` names
//! those that are wanted (`charsets,bulk`; `all`; `none`), so that a kind that fails can be named.

use anyhow::{Result, bail};
use fastrand::Rng;
use tributary_testkit::Flavour;

/// A kind of tables and of statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Random types and character sets in one table.
    Charsets,
    /// `sql_mode=''`: values that a strict session refuses.
    Lenient,
    /// Foreign keys that cascade or set NULL, in chains.
    Cascades,
    /// Tables in engines without transactions, with a key and without.
    Engines,
    /// Names typed in capitals on a device that folds them.
    Folded,
    /// Many rows of a table without a key, changed by one statement.
    Bulk,
}

const ALL: [(&str, Kind); 6] = [
    ("charsets", Kind::Charsets),
    ("lenient", Kind::Lenient),
    ("cascades", Kind::Cascades),
    ("engines", Kind::Engines),
    ("folded", Kind::Folded),
    ("bulk", Kind::Bulk),
];
/// Those that every run has.
const USUAL: &str = "charsets,bulk";

/// The kinds that are wanted.
pub(super) fn wanted() -> Result<Vec<Kind>> {
    let given = std::env::var("TRIBUTARY_KINDS").unwrap_or_else(|_| USUAL.to_owned());
    println!("TRIBUTARY_KINDS={given}");
    match given.as_str() {
        "all" => return Ok(ALL.iter().map(|(_, kind)| *kind).collect()),
        "none" | "" => return Ok(Vec::new()),
        _ => {}
    }
    let kinds = given.split(',').map(|name| match ALL.iter().find(|(known, _)| *known == name) {
        Some((_, kind)) => Ok(*kind),
        None => bail!("TRIBUTARY_KINDS: there is no kind {name:?}"),
    });
    kinds.collect()
}

/// The kinds of a seed, with what its tables are.
#[derive(Debug, Clone)]
pub(crate) struct Kinds {
    kinds: Vec<Kind>,
    /// The columns of `mixed`: each a type.
    mixed: Vec<String>,
    flavour: Flavour,
}

const CHARSETS: [&str; 8] =
    ["latin1", "utf8mb4", "utf8mb3", "gbk", "ucs2", "ascii", "cp1251", "latin2"];
const VALUES: [&str; 8] = ["''", "'a'", "'ab '", "'a b'", "'\\\\'", "'ZZ'", "'0'", "NULL"];

impl Kinds {
    pub(super) fn new(kinds: &[Kind], flavour: Flavour, random: &mut Rng) -> Kinds {
        let mixed = (0..random.usize(4..12)).map(|_| kind_of_column(random)).collect();
        Kinds { kinds: kinds.to_vec(), mixed, flavour }
    }

    fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// The statements that make the tables.
    pub(super) fn tables(&self) -> Vec<String> {
        let mut list = Vec::new();
        if self.has(Kind::Charsets) {
            let columns = self.mixed.iter().enumerate();
            let columns: Vec<String> = columns.map(|(n, kind)| format!("m{n} {kind}")).collect();
            let (before, after) = columns.split_at(columns.len() / 2);
            list.push(format!(
                "CREATE TABLE mixed ({}, id INT PRIMARY KEY, {})",
                before.join(", "),
                after.join(", ")
            ));
        }
        let fixed = self.kinds.iter().flat_map(|kind| fixed_tables(*kind, self.flavour));
        list.extend(fixed.map(|statement| (*statement).to_owned()));
        list
    }

    /// A statement of one of the kinds; `None` when it is the turn of the seed's other tables. `alone` is it
    /// outside of BEGIN and COMMIT.
    pub(super) fn statement(&self, random: &mut Rng, alone: bool) -> Option<String> {
        if self.kinds.is_empty() || random.u32(..3) != 0 {
            return None;
        }
        match self.kinds[random.usize(..self.kinds.len())] {
            Kind::Charsets => Some(self.mixed_statement(random)),
            Kind::Lenient => Some(lenient(random)),
            Kind::Cascades => Some(cascade(random)),
            // Within a transaction such a change stays when the transaction is rolled back.
            Kind::Engines => alone.then(|| engine(random)),
            Kind::Folded => None,
            Kind::Bulk => Some(bulk(random)),
        }
    }

    fn mixed_statement(&self, random: &mut Rng) -> String {
        let column = random.usize(..self.mixed.len());
        let id = random.u32(..30);
        let value = |random: &mut Rng| VALUES[random.usize(..VALUES.len())];
        match random.u32(..4) {
            0 | 1 => {
                let half = self.mixed.len() / 2;
                let mut values: Vec<String> =
                    self.mixed.iter().map(|_| value(random).to_owned()).collect();
                values.insert(half, id.to_string());
                format!("REPLACE INTO mixed VALUES ({})", values.join(", "))
            }
            2 => format!("UPDATE mixed SET m{column} = {} WHERE id = {id}", value(random)),
            _ => format!("DELETE FROM mixed WHERE id = {id}"),
        }
    }

    /// An alteration of a table of one of the kinds.
    pub(super) fn alteration(&self, random: &mut Rng) -> Option<String> {
        if self.kinds.is_empty() || random.u32(..4) != 0 {
            return None;
        }
        match self.kinds[random.usize(..self.kinds.len())] {
            Kind::Charsets => {
                let column = random.usize(..self.mixed.len());
                Some(match random.u32(..3) {
                    0 => format!("ALTER TABLE mixed MODIFY m{column} {}", kind_of_column(random)),
                    1 => {
                        let charset = CHARSETS[random.usize(..CHARSETS.len())];
                        format!("ALTER TABLE mixed CONVERT TO CHARACTER SET {charset}")
                    }
                    _ => format!("ALTER TABLE mixed MODIFY m{column} {} FIRST", self.mixed[column]),
                })
            }
            Kind::Lenient => {
                Some("SET sql_mode=''; ALTER TABLE loose MODIFY v VARCHAR(6), FORCE".to_owned())
            }
            Kind::Cascades => Some("ALTER TABLE child MODIFY v BIGINT, FORCE".to_owned()),
            Kind::Engines => Some("ALTER TABLE isam_key ADD INDEX (v)".to_owned()),
            Kind::Folded => None,
            Kind::Bulk => Some("TRUNCATE TABLE bulk".to_owned()),
        }
    }

    /// The statement as someone types it: on a device that folds names, some of them in capitals.
    pub(super) fn typed(&self, statement: &str, random: &mut Rng) -> String {
        if !self.has(Kind::Folded) || random.bool() {
            return statement.to_owned();
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut text = String::with_capacity(statement.len());
        for word in statement.split_inclusive(|c: char| !is_word(c)) {
            let (name, rest) = word.split_at(word.trim_end_matches(|c: char| !is_word(c)).len());
            match NAMES.contains(&name) {
                true => text.push_str(&name.to_uppercase()),
                false => text.push_str(name),
            }
            text.push_str(rest);
        }
        text
    }
}

/// Tables whose names are not also words of the statements.
const NAMES: [&str; 10] = [
    "keyed",
    "composite",
    "bare",
    "uniq",
    "mixed",
    "loose",
    "parent",
    "child",
    "grandchild",
    "bulk",
];

fn kind_of_column(random: &mut Rng) -> String {
    let charset = CHARSETS[random.usize(..CHARSETS.len())];
    let length = random.u32(3..40);
    match random.u32(..12) {
        0..=2 => format!("CHAR({length}) CHARACTER SET {charset}"),
        3 | 4 => format!("VARCHAR({length}) CHARACTER SET {charset}"),
        5 => format!("TEXT CHARACTER SET {charset}"),
        6 => format!("BINARY({length})"),
        7 => format!("VARBINARY({length})"),
        8 => "BLOB".to_owned(),
        9 => format!("ENUM('a', 'ZZ', '0', '') CHARACTER SET {charset}"),
        10 => "MEDIUMBLOB".to_owned(),
        _ => format!("SET('a', 'ZZ', '0') CHARACTER SET {charset}"),
    }
}

fn fixed_tables(kind: Kind, flavour: Flavour) -> &'static [&'static str] {
    match kind {
        Kind::Charsets | Kind::Folded => &[],
        Kind::Lenient => &[
            "SET sql_mode=''",
            "CREATE TABLE loose (id INT PRIMARY KEY, d DATE, e ENUM('a','b'), s SET('x','y'), t TINYINT UNSIGNED, v VARCHAR(5), y YEAR, at DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00', n INT AS (v) STORED)",
        ],
        Kind::Cascades => &[
            "CREATE TABLE parent (id INT PRIMARY KEY, v INT)",
            "CREATE TABLE child (id INT PRIMARY KEY, pid INT, v INT, FOREIGN KEY (pid) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE)",
            "CREATE TABLE grandchild (id INT PRIMARY KEY, cid INT, up INT, KEY (up), FOREIGN KEY (cid) REFERENCES child (id) ON DELETE SET NULL ON UPDATE CASCADE, FOREIGN KEY (up) REFERENCES grandchild (id) ON DELETE CASCADE)",
        ],
        Kind::Engines if flavour == Flavour::MariaDb => &[
            "CREATE TABLE isam (a INT, b VARCHAR(20), KEY (a)) ENGINE=MyISAM",
            "CREATE TABLE isam_key (id INT PRIMARY KEY, v INT) ENGINE=Aria",
        ],
        Kind::Engines => &[
            "CREATE TABLE isam (a INT, b VARCHAR(20), KEY (a)) ENGINE=MyISAM",
            "CREATE TABLE isam_key (id INT PRIMARY KEY, v INT) ENGINE=MyISAM",
        ],
        Kind::Bulk => &["CREATE TABLE bulk (ts INT, msg VARCHAR(60))"],
    }
}

fn lenient(random: &mut Rng) -> String {
    const DATES: [&str; 4] = ["2024-02-31", "0000-00-00", "2024-00-10", "nonsense"];
    const TEXTS: [&str; 4] = ["12abc", "much too long", "", "7"];
    let id = random.u32(..20);
    let statement = match random.u32(..3) {
        0 => format!("DELETE FROM loose WHERE id = {id}"),
        1 => format!("UPDATE loose SET v = 'x{id}y', t = t - {id}, e = e + 1 WHERE id < {id}"),
        _ => format!(
            "REPLACE INTO loose (id, d, e, s, t, v, y) VALUES ({id}, '{}', '{}', 'x,q', {}, '{}', {})",
            DATES[random.usize(..4)],
            ["a", "zz", "2"][random.usize(..3)],
            random.i32(-300..300),
            TEXTS[random.usize(..4)],
            random.u32(..3000)
        ),
    };
    format!("SET sql_mode=''; {statement}")
}

fn cascade(random: &mut Rng) -> String {
    let (id, other) = (random.u32(..12), random.u32(..12));
    match random.u32(..12) {
        0..=2 => format!("INSERT INTO parent VALUES ({id}, 1) ON DUPLICATE KEY UPDATE v = v + 1"),
        3 | 4 => format!(
            "INSERT INTO child VALUES ({id}, {other}, 1) ON DUPLICATE KEY UPDATE pid = {other}"
        ),
        5 | 6 => format!("INSERT INTO grandchild VALUES ({id}, {other}, NULL)"),
        7 => format!("UPDATE grandchild SET up = {other} WHERE id = {id}"),
        8 => format!("UPDATE parent SET id = {other} WHERE id = {id}"),
        9 => format!("UPDATE child SET id = {other} WHERE id = {id}"),
        10 => format!("DELETE FROM parent WHERE id = {id}"),
        _ => format!("DELETE FROM {} WHERE id = {id}", ["child", "grandchild"][random.usize(..2)]),
    }
}

fn engine(random: &mut Rng) -> String {
    let n = random.u32(..8);
    match random.u32(..6) {
        0 | 1 => format!("INSERT INTO isam VALUES ({n}, 'x{n}'), ({n}, 'x{n}'), (NULL, 'y')"),
        2 => format!("UPDATE isam SET a = a + 1 WHERE a = {n} LIMIT 2"),
        3 => format!("DELETE FROM isam WHERE a = {n} OR a IS NULL LIMIT 2"),
        4 => format!("REPLACE INTO isam_key VALUES ({n}, {n}), ({}, 0)", n + 10),
        _ => format!("DELETE FROM isam_key WHERE id = {n}"),
    }
}

fn bulk(random: &mut Rng) -> String {
    let n = random.u32(..50);
    match random.u32(..4) {
        0 | 1 => {
            let rows: Vec<String> = (0..200)
                .map(|_| format!("({}, REPEAT('m', {}))", random.u32(..50), random.u32(..9)))
                .collect();
            format!("INSERT INTO bulk VALUES {}", rows.join(","))
        }
        2 => format!("UPDATE bulk SET ts = ts + 1 WHERE ts BETWEEN {n} AND {}", n + 5),
        _ => format!("DELETE FROM bulk WHERE ts < {n}"),
    }
}
