//! What the one product's server cannot hold of the other's. The only list: `docs/fidelity.md` gives
//! each reason, and a test looks for it there.

use tributary_testkit::Flavour::{self, MariaDb, MySql};

/// Cases that a pairing cannot carry.
#[derive(Debug)]
pub(super) struct Exclusion {
    /// Names of cases; one that ends in `*` is the beginning of names.
    pub(super) cases: &'static [&'static str],
    /// The device's server.
    pub(super) from: Flavour,
    /// The shard's.
    pub(super) to: Flavour,
    /// As it stands in the document.
    pub(super) reason: &'static str,
}

pub(super) const EXCLUSIONS: &[Exclusion] = &[
    Exclusion {
        cases: &["vector"],
        from: MySql,
        to: MariaDb,
        reason: "MariaDB 10.11 has no VECTOR",
    },
    Exclusion {
        cases: &["point_srid"],
        from: MySql,
        to: MariaDb,
        reason: "MariaDB has no SRID attribute on a column",
    },
    Exclusion {
        cases: &["gb18030"],
        from: MySql,
        to: MariaDb,
        reason: "MariaDB has no character set gb18030",
    },
    Exclusion {
        cases: &["inet4", "inet6", "uuid"],
        from: MariaDb,
        to: MySql,
        reason: "MySQL has no INET4, INET6 and UUID",
    },
    Exclusion {
        cases: &["varchar_compressed", "blob_compressed"],
        from: MariaDb,
        to: MySql,
        reason: "MySQL has no COMPRESSED columns",
    },
    Exclusion {
        cases: &["json*"],
        from: MariaDb,
        to: MySql,
        reason: "MySQL stores a JSON document in a form of its own: its text comes back written anew",
    },
    Exclusion {
        cases: &["float_negative_zero", "double_negative_zero"],
        from: MySql,
        to: MariaDb,
        reason: "MariaDB shows the FLOAT and DOUBLE -0 as 0",
    },
    Exclusion {
        cases: &["timestamp_first_second"],
        from: MariaDb,
        to: MySql,
        reason: "MySQL's TIMESTAMP begins one second after 1970, MariaDB's with its first microsecond",
    },
    Exclusion {
        cases: &["json_deep"],
        from: MySql,
        to: MariaDb,
        reason: "MariaDB takes a JSON document of at most 31 levels, MySQL of 100",
    },
    Exclusion {
        cases: &["json_double"],
        from: MySql,
        to: MariaDb,
        reason: "MariaDB keeps a JSON document as text, and the same DOUBLE has more than one text",
    },
    Exclusion {
        cases: &["json_temporal", "json_decimal", "json_big_decimal", "json_opaque"],
        from: MySql,
        to: MariaDb,
        reason: "MariaDB keeps a JSON document as text, without the SQL types inside",
    },
];

impl Exclusion {
    pub(super) fn covers(&self, case: &str) -> bool {
        self.cases.iter().any(|name| match name.strip_suffix('*') {
            Some(beginning) => case.starts_with(beginning),
            None => case == *name,
        })
    }
}

/// Why the pairing cannot carry the case.
pub(super) fn reason(case: &str, from: Flavour, to: Flavour) -> Option<&'static str> {
    let excluded = |e: &&Exclusion| e.from == from && e.to == to && e.covers(case);
    EXCLUSIONS.iter().find(excluded).map(|exclusion| exclusion.reason)
}
