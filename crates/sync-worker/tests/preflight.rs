//! What `check` says of a shard.

use crate::lab::{book, nats, server, setup};
use crate::shard::{self, run};
use crate::worker;
use tributary_sync_worker::preflight::{self, Verdict};
use tributary_testkit::Flavour;

/// The findings whose subject ends like this, as text; true for those that are good.
async fn verdict(settings: &tributary_sync_worker::Settings, subject: &str) -> (bool, String) {
    let findings = preflight::check(settings).await;
    let found = findings.iter().find(|finding| finding.subject.ends_with(subject));
    match &found.expect("it is looked at").verdict {
        Verdict::Good(text) => (true, text.clone()),
        Verdict::Doubtful(text) | Verdict::Bad(text) => (false, text.clone()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_knows_no_zones_is_told_until_it_does() {
    for flavour in Flavour::ALL {
        let (nats, book, server) = (nats(), book(), server(flavour));
        let settings = worker::settings(&setup("w", nats.url(), &[("m", server.port())], &book));
        let mut admin = shard::connect(&server, &book).await;
        let (good, text) = verdict(&settings, ", zones").await;
        assert!(!good && text.contains("mysql_tzinfo_to_sql"), "{flavour}: {text}");
        // What that program would write, for the one zone.
        run(
            &mut admin,
            "INSERT INTO mysql.time_zone (Time_zone_id, Use_leap_seconds) VALUES (900, 'N'); \
             INSERT INTO mysql.time_zone_name (Name, Time_zone_id) VALUES ('Europe/Berlin', 900); \
             INSERT INTO mysql.time_zone_transition_type (Time_zone_id, Transition_type_id, `Offset`, Is_DST, \
             Abbreviation) VALUES (900, 0, 3600, 0, 'CET')",
        )
        .await;
        let (good, text) = verdict(&settings, ", zones").await;
        assert!(good, "{flavour}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_whose_caches_hold_fewer_tables_than_it_has_is_told_the_statement_that_mends_it() {
    for flavour in Flavour::ALL {
        let (nats, book, server) = (nats(), book(), server(flavour));
        let settings = worker::settings(&setup("w", nats.url(), &[("m", server.port())], &book));
        let mut admin = shard::connect(&server, &book).await;
        let (good, text) = verdict(&settings, "table caches").await;
        assert!(good, "{flavour}, a small shard: {text}");
        run(
            &mut admin,
            "SET GLOBAL table_definition_cache = 400; SET GLOBAL table_open_cache = 400",
        )
        .await;
        run(&mut admin, "CREATE DATABASE many").await;
        let tables: String =
            (0..200).map(|n| format!("CREATE TABLE many.t{n} (id INT PRIMARY KEY);")).collect();
        run(&mut admin, &tables).await;
        let (good, text) = verdict(&settings, "table caches").await;
        assert!(!good, "{flavour}: {text}");
        // What it says, done.
        let statements = text.split("; ").filter(|part| part.starts_with("SET "));
        let statements: Vec<&str> = statements.collect();
        assert_eq!(statements.len(), 2, "{text}");
        for statement in statements {
            run(&mut admin, statement).await;
        }
        let (good, text) = verdict(&settings, "table caches").await;
        assert!(good, "{flavour}: {text}");
        for subject in ["character sets", "time zone", "privileges", "lower_case_table_names"] {
            let (good, text) = verdict(&settings, subject).await;
            assert!(good, "{flavour}, {subject}: {text}");
        }
    }
}
