//! A TCP proxy on loopback that misbehaves on request: the thin, unreliable link of a device.
//!
//! It runs on a thread of its own with its own runtime, so it works the same in synchronous and
//! asynchronous tests, and keeps its port while it is cut. Memory is bounded: each direction of a
//! connection holds at most [`CHUNKS`] chunks that wait for their delay to pass.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::port::Port;

/// A limited rate is kept in steps of so many a second.
const STEPS_PER_SECOND: u64 = 20;
const CHUNK_BYTES: usize = 16 * 1024;
const CHUNKS: usize = 64;

/// One of the two ways through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server: a device's uplink.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// A running proxy; dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    link: watch::Sender<Link>,
    commands: mpsc::UnboundedSender<Request>,
    counters: Arc<Counters>,
}

/// The state of the link, which every pump watches.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    stalled: bool,
    delay_to_server: Duration,
    delay_to_client: Duration,
    /// Bytes a second; 0 for no limit.
    rate_to_server: u64,
    rate_to_client: u64,
}

#[derive(Debug, Default)]
struct Counters {
    to_server: AtomicU64,
    to_client: AtomicU64,
}

#[derive(Debug)]
enum Command {
    Reset,
    Cut,
    Heal,
}

type Request = (Command, std::sync::mpsc::Sender<io::Result<()>>);

impl Proxy {
    /// Starts a proxy on a free port of 127.0.0.1 that forwards to `upstream`. The server need not be up.
    ///
    /// # Errors
    /// When no port is free or the thread cannot be started.
    pub fn start(upstream: SocketAddr) -> Result<Proxy> {
        let port = Port::reserve()?;
        let (link, watched) = watch::channel(Link::default());
        let (commands, inbox) = mpsc::unbounded_channel();
        let counters = Arc::<Counters>::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the proxy's runtime")?;
        let route = Route {
            address: port.address(),
            upstream,
            link: watched,
            counters: counters.clone(),
            turns: Arc::default(),
        };
        thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || runtime.block_on(serve(&route, inbox)))
            .context("cannot start the proxy's thread")?;
        let proxy = Proxy { port, link, commands, counters };
        proxy.heal()?;
        Ok(proxy)
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.port.address()
    }

    /// Drops all connections and refuses new ones. Both have happened when this returns.
    ///
    /// # Errors
    /// When the proxy's thread is gone.
    pub fn cut(&self) -> Result<()> {
        self.command(Command::Cut).context("cannot cut the link")
    }

    /// Drops all connections, with what is on its way in them; new ones are taken at once.
    ///
    /// # Errors
    /// When the proxy's thread is gone.
    pub fn reset(&self) -> Result<()> {
        self.command(Command::Reset).context("cannot reset the link")
    }

    /// Ends a cut and a stall; delays stay. New connections succeed when this returns.
    ///
    /// # Errors
    /// When the port cannot be bound again.
    pub fn heal(&self) -> Result<()> {
        self.link.send_modify(|link| link.stalled = false);
        self.command(Command::Heal).context("cannot heal the link")
    }

    /// Forwards nothing more, and keeps every connection open: a half-open link. New connections are
    /// accepted and hear nothing.
    pub fn stall(&self) {
        self.link.send_modify(|link| link.stalled = true);
    }

    /// Delays every byte of one direction by `delay`, without limiting the rate below about 1 MiB per
    /// delay. Zero ends it.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.link.send_modify(|link| match direction {
            Direction::ToServer => link.delay_to_server = delay,
            Direction::ToClient => link.delay_to_client = delay,
        });
    }

    /// Lets no more than so many bytes a second pass in one direction, of all connections together; 0 ends
    /// it. Up to 1 MiB of each connection waits for its turn, as in a modem's buffer.
    pub fn limit(&self, direction: Direction, bytes_per_second: u64) {
        self.link.send_modify(|link| match direction {
            Direction::ToServer => link.rate_to_server = bytes_per_second,
            Direction::ToClient => link.rate_to_client = bytes_per_second,
        });
    }

    /// Bytes forwarded in one direction since the start, of all connections.
    pub fn forwarded_bytes(&self, direction: Direction) -> u64 {
        self.counters.of(direction).load(Ordering::Relaxed)
    }

    fn command(&self, command: Command) -> io::Result<()> {
        let gone = || io::Error::other("the proxy's thread is gone");
        let (reply, answer) = std::sync::mpsc::channel();
        self.commands.send((command, reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

impl Counters {
    fn of(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }
}

impl Link {
    fn delay(&self, direction: Direction) -> Duration {
        match direction {
            Direction::ToServer => self.delay_to_server,
            Direction::ToClient => self.delay_to_client,
        }
    }

    fn rate(&self, direction: Direction) -> u64 {
        match direction {
            Direction::ToServer => self.rate_to_server,
            Direction::ToClient => self.rate_to_client,
        }
    }
}

/// When the link is free again for the next bytes of a limited direction.
#[derive(Debug, Default)]
struct Turns {
    to_server: Mutex<Option<Instant>>,
    to_client: Mutex<Option<Instant>>,
}

impl Turns {
    /// Takes the link for so many bytes; returns when they have passed.
    fn take(&self, direction: Direction, bytes: usize, rate: u64) -> Instant {
        let turn = match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        };
        let mut free_at = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = free_at.map_or_else(Instant::now, |at| at.max(Instant::now()));
        let passed = begins + Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate);
        *free_at = Some(passed);
        passed
    }
}

#[derive(Clone)]
struct Route {
    address: SocketAddr,
    upstream: SocketAddr,
    link: watch::Receiver<Link>,
    counters: Arc<Counters>,
    turns: Arc<Turns>,
}

/// Accepts and obeys until the [`Proxy`] is dropped.
async fn serve(route: &Route, mut inbox: mpsc::UnboundedReceiver<Request>) {
    let mut listener: Option<TcpListener> = None;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            request = inbox.recv() => {
                let Some((command, reply)) = request else { return };
                let outcome = match command {
                    Command::Reset => {
                        connections.shutdown().await;
                        Ok(())
                    }
                    Command::Cut => {
                        listener = None;
                        connections.shutdown().await;
                        Ok(())
                    }
                    Command::Heal if listener.is_some() => Ok(()),
                    Command::Heal => {
                        TcpListener::bind(route.address).await.map(|bound| listener = Some(bound))
                    }
                };
                let _ = reply.send(outcome);
            }
            Some(client) = accept(listener.as_ref()) => {
                connections.spawn(carry(client, route.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The next client; never, while there is no listener.
async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// One connection, until both directions have ended or one has failed.
async fn carry(client: TcpStream, route: Route) -> io::Result<()> {
    let server = TcpStream::connect(route.upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(
        pump(from_client, to_server, &route, Direction::ToServer),
        pump(from_server, to_client, &route, Direction::ToClient),
    )?;
    Ok(())
}

async fn pump(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    route: &Route,
    direction: Direction,
) -> io::Result<()> {
    let (chunks, due) = mpsc::channel(CHUNKS);
    tokio::try_join!(read(from, chunks, route, direction), write(to, due, route, direction))?;
    Ok(())
}

async fn read(
    mut from: OwnedReadHalf,
    chunks: mpsc::Sender<(Instant, Vec<u8>)>,
    route: &Route,
    direction: Direction,
) -> io::Result<()> {
    let mut link = route.link.clone();
    loop {
        flowing(&mut link).await;
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = from.read(&mut chunk).await?;
        if length == 0 {
            return Ok(()); // the writer drains the queue, then passes the end on
        }
        chunk.truncate(length);
        let due = Instant::now() + link.borrow().delay(direction);
        if chunks.send((due, chunk)).await.is_err() {
            return Ok(());
        }
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>,
    route: &Route,
    direction: Direction,
) -> io::Result<()> {
    let mut link = route.link.clone();
    let forwarded = route.counters.of(direction);
    while let Some((due, chunk)) = chunks.recv().await {
        sleep_until(due).await;
        flowing(&mut link).await;
        let rate = link.borrow().rate(direction);
        let step = if rate == 0 { CHUNK_BYTES as u64 } else { (rate / STEPS_PER_SECOND).max(1) };
        for part in chunk.chunks(usize::try_from(step).unwrap_or(CHUNK_BYTES)) {
            if rate > 0 {
                sleep_until(route.turns.take(direction, part.len(), rate)).await;
            }
            // Counted first: who has received a byte sees it counted.
            forwarded.fetch_add(part.len() as u64, Ordering::Relaxed);
            to.write_all(part).await?;
        }
    }
    flowing(&mut link).await;
    to.shutdown().await
}

/// Returns at once while the link is up, else when it is again.
async fn flowing(link: &mut watch::Receiver<Link>) {
    // An error means that the proxy is being dropped, which ends this task anyway.
    let _ = link.wait_for(|link| !link.stalled).await;
}
