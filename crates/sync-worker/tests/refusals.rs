//! What a shard refuses: who stops, what the operator reads, and that following it helps.

use crate::device::{Change, Device, bytes, column, int, row, simple, table};
use crate::lab::{SIMPLE, book, nats, server, setup};
use crate::shard::{self, query, run, unique};
use crate::worker::{
    self, Running, caught_up, connect, eventually, heartbeat_until, publish, spawn,
};
use async_nats::Client;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tributary_sync_worker::Settings;
use tributary_sync_worker::apply::Target;
use tributary_sync_worker::operate::{self, ParkedDevice};
use tributary_sync_worker::script::{Expect, Script};
use tributary_testkit::{Flavour, MySqlServer, NatsServer};
use tributary_wire::{ColumnKind, Directive, HeartbeatReply};

/// A worker with one shard, a device with a table and a row, and someone who tinkers with the shard.
struct Case {
    _nats: NatsServer,
    client: Client,
    settings: Settings,
    worker: Running,
    device: Device,
    by_hand: shard::Target,
    user: String,
    server: &'static MySqlServer,
}

impl Case {
    fn new(flavour: Flavour) -> LocalBoxFuture<'static, Self> {
        Self::prepare(flavour).boxed_local()
    }

    async fn prepare(flavour: Flavour) -> Self {
        let (nats, book, server) = (nats(), book(), shard::server(flavour));
        let mut by_hand = shard::connect(server, &book).await;
        let user = unique("user").replace('-', "_");
        run(&mut by_hand, &format!("CREATE USER {user} IDENTIFIED BY 'tributary'")).await;
        let mut device = Device::new(&unique("dev"));
        // Some of it by database, so that it can be taken away for one device's.
        let everywhere =
            "SELECT, UPDATE, DELETE, CREATE, DROP, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW";
        for (what, on) in [
            (everywhere, "*"),
            ("INSERT, ALTER", &book),
            ("INSERT, ALTER", &format!("`{}__app`", device.id)),
        ] {
            run(&mut by_hand, &format!("GRANT {what} ON {on}.* TO {user}")).await;
        }
        let configuration = setup("w", nats.url(), &[("m", server.port())], &book);
        let mut settings = worker::settings(&configuration);
        let opts = mysql_async::OptsBuilder::from_opts(settings.shards[0].opts.clone());
        settings.shards[0].opts = opts.user(Some(user.clone())).into();
        let worker = Box::pin(worker::start_with(settings)).await;
        let settings = worker::settings(&configuration);
        let client = connect(&nats).await;
        device.ddl(SIMPLE);
        device.insert(&simple("t"), row(1, "x"));
        publish(&client, &device.id.clone(), device.seal()).await;
        caught_up(&client, &device).await;
        Self { _nats: nats, client, settings, worker, device, by_hand, user, server }
    }

    /// `sql` at the shard, by hand, with the device's database for `db`.
    async fn tinker(&mut self, sql: &str) {
        let database = format!("`{}__app`", self.device.id);
        run(&mut self.by_hand, &sql.replace("db", &database).replace("user", &self.user)).await;
    }

    async fn publish(&mut self) {
        publish(&self.client, &self.device.id.clone(), self.device.seal()).await;
    }

    /// Waits until the device is parked, and returns what the operator reads. `words` are in the reason.
    async fn parked(&self, words: &[&str]) -> ParkedDevice {
        let parked =
            |reply: &HeartbeatReply| matches!(reply.directive, Some(Directive::Parked { .. }));
        let end = Some(self.device.end());
        heartbeat_until(&self.client, &self.device.id, 1, end, parked).await;
        let list = operate::parked(&self.settings).await.expect("lists");
        let [parked] = <[ParkedDevice; 1]>::try_from(list).expect("one is parked");
        assert_eq!(parked.device, self.device.id);
        for word in words {
            assert!(parked.reason.contains(word), "{word} is not in: {}", parked.reason);
        }
        parked
    }

    /// Releases the device; what it missed then comes by itself, and its rows are `rows`.
    async fn released(mut self, rows: &[&str]) {
        operate::release(&self.settings, &self.device.id, false).await.expect("releases");
        caught_up(&self.client, &self.device).await;
        let sql = format!("SELECT * FROM `{}__app`.t ORDER BY id", self.device.id);
        assert_eq!(query(&mut self.by_hand, &sql).await, rows, "{}", self.server.flavour());
        self.worker.stop().await;
    }
}

fn remedy(parked: &ParkedDevice, words: &[&str]) {
    for word in words {
        assert!(parked.remedy.contains(word), "{word} is not in: {}", parked.remedy);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_fit_a_narrowed_column_parks_until_the_column_is_the_devices() {
    for flavour in Flavour::ALL {
        let mut case = Case::new(flavour).await;
        case.tinker("ALTER TABLE db.t MODIFY v VARCHAR(3)").await;
        case.device.insert(&simple("t"), row(2, "too long"));
        case.publish().await;
        let table = format!("{}__app.t", case.device.id);
        let parked = case.parked(&[&table, "'v'", "1406"]).await;
        remedy(&parked, &["give it the device's type", "release"]);
        case.tinker("ALTER TABLE db.t MODIFY v VARCHAR(100)").await;
        case.released(&["1|x", "2|too long"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_would_cut_values_off_parks_before_one_is_written() {
    for flavour in Flavour::ALL {
        let mut case = Case::new(flavour).await;
        // The servers take a time of day for a DATE, also in strict mode, and say nothing.
        case.tinker("ALTER TABLE db.t ADD d DATE").await;
        let mut columns = simple("t").columns.clone();
        columns.push(column("d", ColumnKind::DateTime));
        let noon = (((2024 * 13 + 2) << 5 | 29) << 17 | 12 << 12) << 24;
        let mut values = row(2, "y");
        values.push(int(noon));
        case.device.insert(&table("t", columns, 1), values);
        case.publish().await;
        let table = format!("{}__app.t", case.device.id);
        let parked = case.parked(&[&table, "d of", "is datetime", "and date at"]).await;
        remedy(&parked, &["MODIFY", "release"]);
        case.tinker("ALTER TABLE db.t MODIFY d DATETIME").await;
        case.released(&["1|x|~", "2|y|2024-02-29 12:00:00"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_was_refused_is_run_once_what_was_in_its_way_is_gone() {
    for flavour in Flavour::ALL {
        let mut case = Case::new(flavour).await;
        case.tinker("ALTER TABLE db.t ADD c INT").await;
        case.device.ddl("ALTER TABLE t ADD c INT DEFAULT 7");
        case.publish().await;
        case.parked(&["1060", "ADD c INT DEFAULT 7"]).await;
        // What an operator does changes the very table that the statement would have changed.
        case.tinker("ALTER TABLE db.t DROP c").await;
        case.released(&["1|x|7"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_dropped_parks_until_it_is_restored() {
    for flavour in Flavour::ALL {
        let mut case = Case::new(flavour).await;
        case.tinker("DROP TABLE db.t").await;
        case.device.insert(&simple("t"), row(2, "y"));
        case.publish().await;
        let table = format!("{}__app.t", case.device.id);
        let parked = case.parked(&[&table, "does not exist"]).await;
        remedy(&parked, &["create the table", "rows up to the watermark", "release"]);
        case.tinker(&SIMPLE.replace("TABLE t", "TABLE db.t")).await;
        case.tinker("INSERT INTO db.t VALUES (1, 'x')").await;
        case.released(&["1|x", "2|y"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privilege_that_was_taken_away_parks_until_it_is_granted() {
    for flavour in Flavour::ALL {
        for (privilege, change) in [("INSERT", ""), ("ALTER", "ALTER TABLE t ADD c INT DEFAULT 7")]
        {
            let mut case = Case::new(flavour).await;
            case.tinker(&format!("REVOKE {privilege} ON db.* FROM user")).await;
            if !change.is_empty() {
                case.device.ddl(change);
            }
            let mut columns = simple("t").columns.clone();
            let mut values = row(2, "y");
            if !change.is_empty() {
                columns.push(column("c", ColumnKind::Integer));
                values.push(int(8));
            }
            case.device.insert(&table("t", columns, 1), values);
            case.publish().await;
            let parked = case.parked(&[privilege, "1142"]).await;
            remedy(&parked, &["grant", "release"]);
            case.tinker(&format!("GRANT {privilege} ON db.* TO user")).await;
            let rows = if change.is_empty() { ["1|x", "2|y"] } else { ["1|x|7", "2|y|8"] };
            case.released(&rows).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_altered_by_hand_parks_until_its_shape_is_the_devices() {
    for flavour in Flavour::ALL {
        for (break_it, words, remedy_words, mend) in [
            (
                "ALTER TABLE db.t DROP COLUMN v",
                ["column v", "does not exist"],
                "add the column",
                "ALTER TABLE db.t ADD COLUMN v VARCHAR(100); UPDATE db.t SET v='x'",
            ),
            (
                "ALTER TABLE db.t RENAME COLUMN v TO w",
                ["column v", "does not exist"],
                "add the column",
                "ALTER TABLE db.t RENAME COLUMN w TO v",
            ),
            (
                "ALTER TABLE db.t ADD COLUMN extra INT NOT NULL",
                ["'extra'", "1364"],
                "give it a default, or drop it",
                "ALTER TABLE db.t DROP COLUMN extra",
            ),
        ] {
            let mut case = Case::new(flavour).await;
            case.tinker(break_it).await;
            case.device.insert(&simple("t"), row(2, "y"));
            case.publish().await;
            let table = format!("{}__app.t", case.device.id);
            let parked = case.parked(&[&table, words[0], words[1]]).await;
            remedy(&parked, &[remedy_words, "release"]);
            case.tinker(mend).await;
            case.released(&["1|x", "2|y"]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_someone_changed_in_a_table_without_a_key_parks_until_it_is_restored() {
    for flavour in Flavour::ALL {
        let mut case = Case::new(flavour).await;
        case.device.ddl("DROP TABLE t");
        case.device.ddl("CREATE TABLE t (id INT, v VARCHAR(100))");
        let t = table("t", simple("t").columns.clone(), 0);
        case.device.insert(&t, row(1, "x"));
        case.publish().await;
        caught_up(&case.client, &case.device).await;
        case.tinker("UPDATE db.t SET v='by hand'").await;
        case.device.transaction(&t, &[Change::Update(row(1, "x"), row(1, "y"))]);
        case.publish().await;
        let table = format!("{}__app.t", case.device.id);
        let parked = case.parked(&[&table, "found 0 rows"]).await;
        remedy(&parked, &["restore them", "release"]);
        let sql = format!(
            "SELECT ABS(TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), '{}')) < 5",
            parked.since.trim_end_matches('Z')
        );
        assert_eq!(query(&mut case.by_hand, &sql).await, ["1"], "{}", parked.since);
        case.tinker("UPDATE db.t SET v='x'").await;
        case.released(&["1|y"]).await;
    }
}

/// Its upsert is refused for the server's lack of it, not for anything that the shard is short of.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_overlaps_parks_its_device_and_no_other() {
    let mut case = Case::new(Flavour::MariaDb).await;
    let mut other = Device::new(&unique("other"));
    case.device.ddl(
        "CREATE TABLE p (id INT, s DATE, e DATE, PERIOD FOR p (s, e), PRIMARY KEY (id, p WITHOUT OVERLAPS))",
    );
    let shape = table(
        "p",
        vec![
            column("id", ColumnKind::Integer),
            column("e", ColumnKind::Date),
            column("s", ColumnKind::Date),
        ],
        3,
    );
    let new_year = |year: i64| int(year << 9 | 1 << 5 | 1);
    let period = |from: i64, to: i64| vec![int(1), new_year(to), new_year(from)];
    // As DELETE … FOR PORTION OF does it.
    let changes = [
        Change::Insert(period(2020, 2025)),
        Change::Delete(period(2020, 2025)),
        Change::Insert(period(2020, 2021)),
        Change::Insert(period(2024, 2025)),
    ];
    case.device.transaction(&shape, &changes);
    case.publish().await;
    let id = case.device.id.clone();
    let parked = case.parked(&[&format!("{id}__app.p")]).await;
    remedy(&parked, &["plain PRIMARY KEY", "release"]);
    let user = case.user.clone();
    run(&mut case.by_hand, &format!("GRANT INSERT, ALTER ON `{}__app`.* TO {user}", other.id))
        .await;
    other.ddl(SIMPLE);
    other.insert(&simple("t"), row(1, "x"));
    publish(&case.client, &other.id.clone(), other.seal()).await;
    caught_up(&case.client, &other).await;
    // In one statement MariaDB finds the two keys equal, and changes nothing.
    case.tinker("ALTER TABLE db.p DROP PRIMARY KEY").await;
    case.tinker("ALTER TABLE db.p ADD PRIMARY KEY (id, e, s)").await;
    case.released(&["1|x"]).await;
}

#[tokio::test]
async fn a_script_tells_which_statement_failed_and_about_which_table() {
    for flavour in Flavour::ALL {
        let mut target = shard::target(flavour).await;
        run(&mut target, "CREATE TABLE u (id INT PRIMARY KEY)").await;
        let book = target.database.clone();
        for wrong in 0..4 {
            let mut script = Script::default();
            for at in 0..4 {
                let id = if at == wrong { "'no number'" } else { "1" };
                let sql = format!("REPLACE INTO `{book}`.`u` VALUES ({id})");
                script.push(at, Expect::Success, sql.as_bytes());
            }
            let error = target.session.run_script(&script).await.expect_err("refused");
            assert_eq!(error.statement(), Some(wrong), "{flavour}: {error}");
            assert_eq!(script.table(wrong), Some(format!("{book}.u")));
        }
        let mut script = Script::default();
        for sql in ["DO 1", "DELETE FROM u WHERE id=99", "INSERT INTO u VALUES ('no number')"] {
            script.push(
                0,
                if sql.contains("99") { Expect::OneRow } else { Expect::Success },
                sql.as_bytes(),
            );
        }
        let error = target.session.run_script(&script).await.expect_err("no such row");
        assert_eq!(error.statement(), Some(1), "the first fault counts: {error}");
    }
}

/// The first key of rows that are not the device's.
#[cfg(target_os = "linux")]
const OTHERS: u32 = 1_000_000;

/// Fills the table with rows of someone else's, until the shard has no room for one more.
#[cfg(target_os = "linux")]
async fn fill(by_hand: &mut Target, table: &str) {
    const TABLE_FULL: u16 = 1114;
    for id in OTHERS..OTHERS + 100 {
        let insert = format!("INSERT INTO {table} VALUES ({id}, REPEAT('x', 500000))");
        if let Err(refusal) = by_hand.session.run("fill the table", insert.as_bytes()).await {
            assert_eq!(refusal.code(), Some(TABLE_FULL), "{refusal}");
            return;
        }
    }
    panic!("{table} is not full");
}

/// A file of the shard can grow no more, as on a full disk: its device waits, and nobody else does.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_full_holds_up_its_device_alone_and_goes_on_when_there_is_room() {
    // More than the largest file of a fresh server, and less than the rows take.
    const LIMIT: u64 = 40 << 20;
    let (nats, book, mysql) = (nats(), book(), server(Flavour::MySql));
    let worker = spawn(&setup("w", nats.url(), &[("m", mysql.port())], &book));
    let client = connect(&nats).await;
    let mut large = Device::new(&unique("large"));
    let mut small: Vec<Device> = (0..6).map(|_| Device::new(&unique("small"))).collect();
    large.ddl("CREATE TABLE t (id INT PRIMARY KEY, v MEDIUMBLOB)");
    let columns = vec![column("id", ColumnKind::Integer), column("v", ColumnKind::Binary)];
    let shape = table("t", columns, 1);
    mysql.limit_files(Some(LIMIT)).expect("limits");
    for id in 0..100 {
        large.insert(&shape, vec![int(id), bytes(&vec![b'x'; 500_000])]);
        publish(&client, &large.id.clone(), large.seal()).await;
        for device in &mut small {
            if id == 0 {
                device.ddl(SIMPLE);
            }
            device.insert(&simple("t"), row(id, "x"));
            publish(&client, &device.id.clone(), device.seal()).await;
        }
    }
    let mut by_hand = shard::connect(&mysql, &book).await;
    let copy = format!("`{}__app`.t", large.id);
    eventually(&mysql, &format!("SELECT 1 FROM {copy} WHERE id=0"), &["1"]).await;
    fill(&mut by_hand, &copy).await;
    let told = format!("device=\"{}\" error=\"table {}__app.t", large.id, large.id);
    worker.says(&["the shard has no room for this device's rows", &told]).await;
    for device in &mut small {
        device.insert(&simple("t"), row(100, "x"));
        publish(&client, &device.id.clone(), device.seal()).await;
    }
    for device in &small {
        caught_up(&client, device).await;
    }
    let count = format!("SELECT COUNT(*) FROM {copy} WHERE id<{OTHERS}");
    let there: u32 = query(&mut by_hand, &count).await[0].parse().expect("a number");
    assert!((1..100).contains(&there), "{there} rows are there");
    mysql.limit_files(None).expect("there is room again");
    eventually(&mysql, &count, &["100"]).await;
    caught_up(&client, &large).await;
    let settings = worker::settings(&setup("w", nats.url(), &[("m", mysql.port())], &book));
    let parked = operate::parked(&settings).await.expect("lists");
    assert!(parked.is_empty(), "{parked:?}");
}
