//! Ports on loopback that nobody else takes, also while their server is down.
//!
//! A port chosen by the system (bind to 0, close, reuse) lies in the ephemeral range, where any outgoing
//! connection may take it while a killed server waits for its restart. So ports are drawn from below that
//! range, and each is reserved among all processes of the machine by an abstract Unix socket named after
//! it, which the kernel frees when its owner ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Result, bail};

const LOWEST: u16 = 12_000;
const ATTEMPTS: u32 = 200;

/// A reserved port on 127.0.0.1, free again when dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    #[cfg(target_os = "linux")]
    _reservation: std::os::unix::net::UnixListener,
}

impl Port {
    /// Reserves a port on which nothing listens.
    ///
    /// # Errors
    /// When two hundred random ports were all taken.
    pub fn reserve() -> Result<Port> {
        let highest = ephemeral_start().saturating_sub(1).max(LOWEST + 1_000);
        for _ in 0..ATTEMPTS {
            let number = fastrand::u16(LOWEST..=highest);
            if let Ok(port) = Port::claim(number) {
                return Ok(port);
            }
        }
        bail!("no free port on 127.0.0.1 between {LOWEST} and {highest}")
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// 127.0.0.1 with this port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }

    #[cfg(target_os = "linux")]
    fn claim(number: u16) -> io::Result<Port> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
        let name = UnixAddress::from_abstract_name(format!("tributary-port-{number}"))?;
        let reservation = UnixListener::bind_addr(&name)?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number))?;
        Ok(Port { number, _reservation: reservation })
    }

    #[cfg(not(target_os = "linux"))]
    fn claim(number: u16) -> io::Result<Port> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, number))?;
        Ok(Port { number })
    }
}

fn ephemeral_start() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let start = range.ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
    start.unwrap_or(32_768)
}
