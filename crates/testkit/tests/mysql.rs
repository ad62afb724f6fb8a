//! MySQL and MariaDB: start, kill, restart, fail.

use anyhow::Result;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer};

async fn connect(server: &MySqlServer) -> Result<Conn> {
    Ok(Conn::from_url(server.admin_url()).await?)
}

async fn loses_nothing_when_killed(flavour: Flavour) -> Result<()> {
    let mut server = MySqlServer::start(flavour, &MySqlOptions::source())?;
    let port = server.port();
    let mut conn = connect(&server).await?;
    conn.query_drop("CREATE DATABASE d").await?;
    conn.query_drop("CREATE TABLE d.t (id INT PRIMARY KEY) ENGINE=InnoDB").await?;
    conn.query_drop("INSERT INTO d.t VALUES (1), (2)").await?;

    server.kill();
    assert_eq!(server.pid(), None);
    server.restart()?;
    assert_eq!(server.port(), port);
    let rows: Vec<i32> = connect(&server).await?.query("SELECT id FROM d.t ORDER BY id").await?;
    assert_eq!(rows, [1, 2]);

    server.stop()?;
    server.restart()?;
    let count: Option<i64> =
        connect(&server).await?.query_first("SELECT COUNT(*) FROM d.t").await?;
    assert_eq!(count, Some(2));
    Ok(())
}

#[tokio::test]
async fn mysql_keeps_its_data_and_port_over_kill_and_restart() -> Result<()> {
    loses_nothing_when_killed(Flavour::MySql).await
}

#[tokio::test]
async fn mariadb_keeps_its_data_and_port_over_kill_and_restart() -> Result<()> {
    loses_nothing_when_killed(Flavour::MariaDb).await
}

async fn binlog_files(conn: &mut Conn) -> Result<Vec<String>> {
    let rows: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await?;
    Ok(rows.iter().filter_map(|row| row.get(0)).collect())
}

#[tokio::test]
async fn a_fresh_source_has_one_binlog_file_and_no_past() -> Result<()> {
    for flavour in Flavour::ALL {
        let server = MySqlServer::start(flavour, &MySqlOptions::source())?;
        let mut conn = connect(&server).await?;
        assert_eq!(binlog_files(&mut conn).await?, ["binlog.000001"], "{flavour}");
        let past = match flavour {
            Flavour::MySql => "SELECT CONCAT(@@gtid_purged, @@gtid_executed)",
            Flavour::MariaDb => "SELECT CONCAT(@@gtid_slave_pos, @@gtid_binlog_pos)",
        };
        let past: Option<String> = conn.query_first(past).await?;
        assert_eq!(past.as_deref(), Some(""), "{flavour}");
        let format: Option<(String, String, String)> = conn
            .query_first("SELECT @@binlog_format, @@binlog_row_image, @@binlog_row_metadata")
            .await?;
        let expected = ("ROW".to_owned(), "FULL".to_owned(), "FULL".to_owned());
        assert_eq!(format, Some(expected), "{flavour}");
    }
    Ok(())
}

#[tokio::test]
async fn two_sources_have_different_identities() -> Result<()> {
    let one = MySqlServer::start(Flavour::MySql, &MySqlOptions::source())?;
    let two = MySqlServer::start(Flavour::MySql, &MySqlOptions::source())?;
    let mut uuids = Vec::new();
    for server in [&one, &two] {
        let uuid: Option<String> =
            connect(server).await?.query_first("SELECT @@server_uuid").await?;
        uuids.push(uuid);
    }
    assert_ne!(uuids[0], uuids[1]);
    assert_ne!(one.port(), two.port());
    Ok(())
}

#[tokio::test]
async fn root_logs_in_without_a_password_on_tcp_and_socket() -> Result<()> {
    for flavour in Flavour::ALL {
        let server = MySqlServer::start(flavour, &MySqlOptions::target())?;
        let mut conn = Conn::from_url(server.url("root", "", "")).await?;
        let log_bin: Option<i64> = conn.query_first("SELECT @@log_bin").await?;
        assert_eq!(log_bin, Some(0), "{flavour}");

        let options = mysql_async::OptsBuilder::default()
            .socket(Some(server.socket().to_string_lossy()))
            .user(Some("root"));
        let mut conn = Conn::new(options).await?;
        let user: Option<String> = conn.query_first("SELECT CURRENT_USER()").await?;
        assert_eq!(user.as_deref(), Some("root@localhost"), "{flavour}");
    }
    Ok(())
}

#[test]
fn a_server_that_does_not_start_shows_the_end_of_its_log() {
    for flavour in Flavour::ALL {
        let options = MySqlOptions::source().argument("--no-such-option=1");
        let error = MySqlServer::start(flavour, &options).expect_err("the option does not exist");
        let text = format!("{error:#}");
        assert!(text.contains("no-such-option"), "{flavour}: {text}");
        assert!(text.contains("ended while starting"), "{flavour}: {text}");
    }
}
