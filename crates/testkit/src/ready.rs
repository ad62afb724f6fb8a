//! Whether a MySQL or MariaDB server takes connections: it greets with protocol version 10.
//!
//! See the MySQL manual, "Protocol::HandshakeV10": a packet of four header bytes and then 0x0a. A server
//! with too many connections answers 0xff, which is not taken for ready.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::GuardedChild;

const POLL: Duration = Duration::from_millis(5);
const GREETING: Duration = Duration::from_secs(2);
const PROTOCOL: u8 = 10;

/// Waits until the server greets on TCP.
pub(crate) fn on_tcp(
    address: SocketAddr,
    child: &mut GuardedChild,
    deadline: Duration,
) -> Result<()> {
    wait(child, deadline, || {
        let stream = TcpStream::connect_timeout(&address, GREETING).ok()?;
        stream.set_read_timeout(Some(GREETING)).ok()?;
        greets(stream)
    })
}

/// Waits until the server greets on its Unix socket.
pub(crate) fn on_socket(path: &Path, child: &mut GuardedChild, deadline: Duration) -> Result<()> {
    wait(child, deadline, || {
        let stream = UnixStream::connect(path).ok()?;
        stream.set_read_timeout(Some(GREETING)).ok()?;
        greets(stream)
    })
}

/// Polls `is_ready` until it is `Some`, as long as the child lives.
pub(crate) fn wait(
    child: &mut GuardedChild,
    deadline: Duration,
    is_ready: impl Fn() -> Option<()>,
) -> Result<()> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(status) = child.ended() {
            bail!("the server ended while starting: {status}");
        }
        if is_ready().is_some() {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("the server took no connection within {} s", deadline.as_secs());
        }
        thread::park_timeout(POLL);
    }
}

fn greets(mut stream: impl Read) -> Option<()> {
    let mut packet = [0; 5];
    stream.read_exact(&mut packet).ok()?;
    (packet[4] == PROTOCOL).then_some(())
}
