//! The oracle's cases (`crates/e2e/tests/oracle`), which both decoders read.
#![allow(dead_code, reason = "not all of what the oracle says of a case matters here")]

#[path = "../../e2e/tests/oracle/case.rs"]
mod case;
#[path = "../../e2e/tests/oracle/documents.rs"]
mod documents;
#[path = "../../e2e/tests/oracle/numbers.rs"]
mod numbers;
#[path = "../../e2e/tests/oracle/script.rs"]
mod script;
#[path = "../../e2e/tests/oracle/texts.rs"]
mod texts;
#[path = "../../e2e/tests/oracle/times.rs"]
mod times;

use case::State;
use fastrand::Rng;
use script::Phase;
use tributary_testkit::Flavour;

const SESSION: [&str; 5] = [
    "SET NAMES utf8mb4",
    "SET time_zone = '+00:00'",
    "SET sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'",
    "CREATE DATABASE oracle CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
    "USE oracle",
];

/// Metadata of a VECTOR and of MariaDB's own types ends the other decoder's reading (`metadata_type.rs`),
/// and it shows values of SQL types inside a document as strings, which are no document of ours.
const NOT_READ_BY_THE_OTHER: [&str; 8] = [
    "vector",
    "inet4",
    "inet6",
    "uuid",
    "varchar_compressed",
    "blob_compressed",
    "json_temporal",
    "json_opaque",
];

/// Everything that the oracle does with the cases that a server has.
pub(crate) fn statements(flavour: Flavour) -> Vec<String> {
    let random = &mut Rng::with_seed(1);
    let mut cases = numbers::cases(random);
    cases.extend(times::cases(random));
    cases.extend(texts::cases(random));
    cases.extend(documents::cases());
    cases.retain(|case| {
        case.is_on(flavour)
            && case.state == State::Carried
            && !NOT_READ_BY_THE_OTHER.contains(&case.name.as_str())
    });
    let mut statements: Vec<String> = SESSION.map(str::to_owned).into();
    for phase in Phase::ALL {
        statements.extend(cases.iter().flat_map(|case| script::statements(case, phase)));
    }
    statements
}
