//! Shards for the tests: one server of each kind for all of them, a bookkeeping database for each.

use mysql_async::{Opts, OptsBuilder, Row};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
pub(crate) use tributary_sync_worker::apply::Target;
use tributary_sync_worker::apply::{self, Outcome, Work};
use tributary_sync_worker::catalog::Catalog;
use tributary_sync_worker::ddl;
use tributary_sync_worker::merged::Layout;
use tributary_sync_worker::migrate::migrate;
use tributary_sync_worker::session::Session;
use tributary_sync_worker::watermark::{self, Parked, Watermark};
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer};
use tributary_wire::{Batch, DeviceId};

static MYSQL: LazyLock<MySqlServer> = LazyLock::new(|| start(Flavour::MySql));
static MARIADB: LazyLock<MySqlServer> = LazyLock::new(|| start(Flavour::MariaDb));
static NEXT: AtomicU32 = AtomicU32::new(0);

fn start(flavour: Flavour) -> MySqlServer {
    let options = MySqlOptions { durable: false, ..MySqlOptions::target() };
    MySqlServer::start(flavour, &options).expect("a server starts")
}

pub(crate) fn server(flavour: Flavour) -> &'static MySqlServer {
    match flavour {
        Flavour::MySql => &MYSQL,
        Flavour::MariaDb => &MARIADB,
    }
}

/// A name that no other test uses: a device's, or a database's.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn opts(server: &MySqlServer) -> Opts {
    let opts = Opts::from_url(&server.admin_url()).expect("a URL");
    OptsBuilder::from_opts(opts)
        .client_found_rows(true)
        .prefer_socket(false)
        .stmt_cache_size(0)
        .into()
}

/// A target with a bookkeeping database of its own.
pub(crate) async fn target(flavour: Flavour) -> Target {
    connect(server(flavour), &unique("book").replace('-', "_")).await
}

pub(crate) async fn connect(server: &MySqlServer, database: &str) -> Target {
    let mut session = Session::connect(&opts(server)).await.expect("connects");
    migrate(&mut session, database).await.expect("migrates");
    let layout = Layout::SchemaPerDevice;
    Target { session, catalog: Catalog::default(), database: database.to_owned(), layout }
}

/// Applies batches as a lane does, DDL included. Returns the device's watermark.
pub(crate) async fn settle(
    target: &mut Target,
    device: &DeviceId,
    batches: &[&Batch],
) -> Option<Watermark> {
    loop {
        let works = [work(device, batches)];
        let outcomes = apply::apply(target, &works).await.expect("applies");
        let Outcome { pass, watermark, .. } = outcomes.into_iter().next().expect("one device");
        let Some(barrier) = pass.barrier else { return watermark };
        ddl::apply(target, device, &barrier).await.expect("the statement runs");
    }
}

pub(crate) fn work<'a>(device: &'a DeviceId, batches: &[&'a Batch]) -> Work<'a> {
    Work { device, batches: batches.to_vec(), park: None, must_exist: false, one_by_one: false }
}

/// What [`settle`] returns for a device that must not be parked.
pub(crate) async fn apply_all(
    target: &mut Target,
    device: &DeviceId,
    batches: &[&Batch],
) -> Watermark {
    let watermark = settle(target, device, batches).await.expect("the device has a row");
    assert_eq!(watermark.parked, None);
    watermark
}

pub(crate) async fn parked(target: &mut Target, device: &DeviceId, batches: &[&Batch]) -> Parked {
    let watermark = settle(target, device, batches).await.expect("the device has a row");
    watermark.parked.expect("the device is parked")
}

/// Applies batches up to a statement that cannot be run, parks the device as a lane does, and returns why.
pub(crate) async fn stopped(target: &mut Target, device: &DeviceId, batches: &[&Batch]) -> Parked {
    loop {
        let outcomes = apply::apply(target, &[work(device, batches)]).await.expect("applies");
        let Outcome { pass, .. } = outcomes.into_iter().next().expect("one device");
        let barrier = pass.barrier.expect("a statement that cannot be run");
        let stop = match ddl::apply(target, device, &barrier).await {
            Ok(_) => continue,
            Err(ddl::DdlError::Stop(stop)) => stop,
            Err(error) => panic!("{error}"),
        };
        let parked = Work { park: Some(stop.clone()), ..work(device, batches) };
        apply::apply(target, &[parked]).await.expect("parks");
        return stop;
    }
}

/// The rows of a query as text, columns joined with `|`, NULL as `~`.
pub(crate) async fn query(target: &mut Target, sql: &str) -> Vec<String> {
    let rows: Vec<Row> = target.session.rows("test", sql).await.expect("the query runs");
    rows.into_iter().map(show).collect()
}

fn show(row: Row) -> String {
    let value = |value: mysql_async::Value| match value {
        mysql_async::Value::NULL => "~".to_owned(),
        mysql_async::Value::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => format!("{:02x?}", error.into_bytes()),
        },
        other => other.as_sql(true),
    };
    row.unwrap().into_iter().map(value).collect::<Vec<_>>().join("|")
}

pub(crate) async fn run(target: &mut Target, sql: &str) {
    target.session.run("test", sql.as_bytes()).await.expect("the statement runs");
}

pub(crate) async fn read(target: &mut Target, device: &DeviceId) -> Option<Watermark> {
    let sql = watermark::select(&target.database, &[device], false);
    let rows = target.session.rows("test", &sql).await.and_then(watermark::parse).expect("reads");
    rows.into_iter().map(|(_, row)| row).next()
}

/// The rows of a query on a connection of its own; `None` when it fails.
pub(crate) async fn try_query(server: &MySqlServer, sql: &str) -> Option<Vec<String>> {
    let mut session = Session::connect(&opts(server)).await.ok()?;
    let rows: Vec<Row> = session.rows("test", sql).await.ok()?;
    session.close().await;
    Some(rows.into_iter().map(show).collect())
}
