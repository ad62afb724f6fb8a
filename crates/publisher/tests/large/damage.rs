//! Large events that are damaged on the way, and disks that do not take them.

use super::model::Model;
use super::sizes::source;
use crate::harness::{DEVICE, Lab, is_done};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tributary_publisher::source::Source;
use tributary_publisher::tail::Tail;
use tributary_publisher::{Error, Fate};
use tributary_testkit::Flavour;
use tributary_wire::Position;

const LARGE: &str = "INSERT INTO app.t VALUES (1, REPEAT('x', 5000000))";

async fn prepare(lab: &Lab) {
    lab.sql(&["CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY, b LONGBLOB)"]).await;
}

/// Forwards connections to the server, and damages the first long run of `x` that passes, once.
async fn damaging_proxy(server: u16) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("an address").port();
    let done = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&done);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server)).await.expect("connects");
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let flag = Arc::clone(&flag);
            tokio::spawn(async move {
                let mut chunk = vec![0; 32 << 10];
                while let Ok(count @ 1..) = from_server.read(&mut chunk).await {
                    let bytes = &mut chunk[..count];
                    if bytes.iter().filter(|byte| **byte == b'x').count() > 10_000
                        && !flag.swap(true, Ordering::SeqCst)
                    {
                        let at = bytes.iter().rposition(|byte| *byte == b'x').expect("is there");
                        bytes[at] = b'y';
                    }
                    if to_client.write_all(bytes).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, done)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_damaged_large_event_is_published() {
    let lab = Lab::start_with(Flavour::MySql, &source()).await;
    prepare(&lab).await;
    let (port, damaged) = damaging_proxy(lab.source.port()).await;
    let mut config = lab.config();
    config.source.port = port;
    let publisher = lab.publish_with(config);
    lab.asked(|question| question.published.is_some()).await;
    lab.sql(&[LARGE, "USE app", "CREATE TABLE done (id INT)"]).await;
    let model = Model::of(&lab.read_until(is_done).await);
    assert!(damaged.load(Ordering::SeqCst), "nothing was damaged");
    // The first batches that hold the event are the ones that count; they are whole.
    model.assert_is(&lab.source, &["app.t"]).await;
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_directory_that_takes_no_large_event_is_named_and_the_event_waits() {
    let lab = Lab::start_with(Flavour::MySql, &source()).await;
    prepare(&lab).await;
    let config = lab.config();
    let publisher = lab.publish();
    lab.asked(|question| question.published.is_some()).await;
    let dir = lab.state.path().to_owned();
    std::fs::remove_dir_all(&dir).expect("removed");
    lab.sql(&[LARGE]).await;

    let (_, facts) = Source::open(&config.source).await.expect("opens");
    let device = DEVICE.parse().expect("valid");
    let from = Position::boundary(1, 1, 4);
    let mut source = config.source.clone();
    source.server_id = Some(77);
    let tail = Tail::open(&source, &device, &facts, "binlog.000001", from, &dir).await;
    let mut tail = tail.expect("opens");
    let error = loop {
        if let Err(error) = tail.next().await {
            break error;
        }
    };
    assert!(matches!(error, Error::Spool { .. }), "{error}");
    assert_eq!(error.fate(), Fate::Retry);
    assert!(error.to_string().contains(&dir.display().to_string()), "{error}");

    std::fs::create_dir_all(&dir).expect("made");
    lab.sql(&["USE app", "CREATE TABLE done (id INT)"]).await;
    Model::of(&lab.read_until(is_done).await).assert_is(&lab.source, &["app.t"]).await;
    publisher.stop().await;
}
