//! The fault proxy, before an echo server.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use tributary_testkit::{Direction, Proxy};

const PATIENCE: Duration = Duration::from_secs(10);

fn echo_server() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    Ok(address)
}

fn client(proxy: &Proxy) -> Result<TcpStream> {
    let stream = TcpStream::connect(proxy.addr())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn echo(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes())?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn bytes_pass_through_and_are_counted() -> Result<()> {
    let proxy = Proxy::start(echo_server()?)?;
    assert_eq!(echo(&mut client(&proxy)?, "hello")?, "hello");
    assert_eq!(proxy.forwarded_bytes(Direction::ToServer), 5);
    assert_eq!(proxy.forwarded_bytes(Direction::ToClient), 5);
    Ok(())
}

#[test]
fn a_cut_drops_connections_and_refuses_new_ones_until_healed() -> Result<()> {
    let proxy = Proxy::start(echo_server()?)?;
    let mut old = client(&proxy)?;
    echo(&mut old, "before")?;

    proxy.cut()?;
    let end = old.read(&mut [0; 8]);
    assert!(matches!(&end, Ok(0)) || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
    let refused = TcpStream::connect(proxy.addr()).expect_err("a cut link refuses");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    proxy.heal()?;
    assert_eq!(echo(&mut client(&proxy)?, "after")?, "after");
    Ok(())
}

#[test]
fn a_stalled_link_stays_open_and_goes_on_where_it_stopped() -> Result<()> {
    let proxy = Proxy::start(echo_server()?)?;
    let mut stream = client(&proxy)?;
    echo(&mut stream, "before")?;

    proxy.stall();
    stream.write_all(b"during")?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    let error = stream.read(&mut [0; 8]).expect_err("nothing arrives");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");

    proxy.heal()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; 6];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"during");
    Ok(())
}

#[test]
fn a_delay_holds_each_direction_back() -> Result<()> {
    let proxy = Proxy::start(echo_server()?)?;
    let mut stream = client(&proxy)?;
    echo(&mut stream, "connected")?;
    proxy.delay(Direction::ToServer, Duration::from_millis(80));
    proxy.delay(Direction::ToClient, Duration::from_millis(40));
    let start = Instant::now();
    echo(&mut stream, "slow")?;
    assert!(start.elapsed() >= Duration::from_millis(120), "{:?}", start.elapsed());

    proxy.delay(Direction::ToServer, Duration::ZERO);
    proxy.delay(Direction::ToClient, Duration::ZERO);
    assert_eq!(echo(&mut stream, "fast")?, "fast");
    Ok(())
}

#[test]
fn a_large_stream_passes_unchanged_under_delay() -> Result<()> {
    let proxy = Proxy::start(echo_server()?)?;
    proxy.delay(Direction::ToClient, Duration::from_millis(5));
    let sent: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
    let stream = client(&proxy)?;
    let mut writer = stream.try_clone()?;
    let copy = sent.clone();
    let writing = thread::spawn(move || writer.write_all(&copy));
    let mut received = vec![0; sent.len()];
    (&stream).read_exact(&mut received)?;
    writing.join().expect("the writer ends well")?;
    assert!(sent == received);
    Ok(())
}

#[test]
fn a_limited_link_carries_no_more_than_its_rate_and_a_reset_drops_what_is_on_its_way() -> Result<()>
{
    let proxy = Proxy::start(echo_server()?)?;
    let mut stream = client(&proxy)?;
    echo(&mut stream, "connected")?;
    proxy.limit(Direction::ToServer, 20_000);
    let start = Instant::now();
    echo(&mut stream, &"x".repeat(10_000))?;
    assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
    let before = proxy.forwarded_bytes(Direction::ToServer);
    stream.write_all(&[0; 100_000])?;
    proxy.reset()?;
    assert!(proxy.forwarded_bytes(Direction::ToServer) < before + 100_000);
    proxy.limit(Direction::ToServer, 0);
    assert_eq!(echo(&mut client(&proxy)?, "after")?, "after");
    Ok(())
}
