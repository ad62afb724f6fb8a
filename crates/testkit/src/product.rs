//! What can be fetched: which server, from which Debian suite, in which packages, and how new it must be.

use std::fmt;

/// A server program that the kit can provide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Product {
    /// Oracle's MySQL, 8.0 or later.
    MySql,
    /// MariaDB, 10.5 or later.
    MariaDb,
    /// nats-server with JetStream, 2.11 or later.
    Nats,
}

impl Product {
    /// Every product, in the order in which they are fetched (smallest first, so that a missing network
    /// shows at once).
    pub const ALL: [Product; 3] = [Product::Nats, Product::MariaDb, Product::MySql];

    /// Short name, used for directories in the cache.
    pub fn key(self) -> &'static str {
        match self {
            Product::MySql => "mysql",
            Product::MariaDb => "mariadb",
            Product::Nats => "nats",
        }
    }

    /// The program's file name, as it is looked up on PATH.
    pub fn program(self) -> &'static str {
        match self {
            Product::MySql => "mysqld",
            Product::MariaDb => "mariadbd",
            Product::Nats => "nats-server",
        }
    }

    /// The environment variable that names a program to use instead of a fetched one.
    pub fn variable(self) -> &'static str {
        match self {
            Product::MySql => "TRIBUTARY_MYSQLD",
            Product::MariaDb => "TRIBUTARY_MARIADBD",
            Product::Nats => "TRIBUTARY_NATS_SERVER",
        }
    }

    /// The oldest version that the project supports.
    pub fn oldest(self) -> Version {
        match self {
            Product::MySql => Version(8, 0, 0),
            Product::MariaDb => Version(10, 5, 0),
            Product::Nats => Version(2, 11, 0),
        }
    }

    /// The Debian suite that has a version new enough.
    pub(crate) fn suite(self) -> &'static str {
        match self {
            Product::MariaDb => "bookworm",
            Product::MySql | Product::Nats => "sid",
        }
    }

    /// The packages to ask for; what they depend on follows.
    pub(crate) fn packages(self) -> &'static [&'static str] {
        match self {
            Product::MySql => &["mysql-server-core", "mysql-client-core"],
            // mariadb-server carries the plugins (ed25519 authentication), mariadb-client the tools
            // (mariadb-binlog, mariadb-dump).
            Product::MariaDb => {
                &["mariadb-server-core", "mariadb-client-core", "mariadb-server", "mariadb-client"]
            }
            Product::Nats => &["nats-server"],
        }
    }

    /// Raised when what older code fetched, or the template it made, must be made again.
    pub(crate) fn recipe(self) -> u32 {
        match self {
            Product::MariaDb => 2,
            Product::MySql | Product::Nats => 1,
        }
    }

    /// Reads the output of `program --version`.
    ///
    /// Errors say in one phrase why the program will not do.
    pub(crate) fn judge(self, output: &str) -> Result<Version, String> {
        let version = Version::find(output)
            .ok_or_else(|| format!("its version cannot be read from {:?}", output.trim()))?;
        let is_mariadb = output.contains("MariaDB");
        match self {
            Product::MySql if is_mariadb => {
                return Err(format!("it is MariaDB {version}, not MySQL"));
            }
            Product::MariaDb if !is_mariadb => {
                return Err(format!("it is not MariaDB ({version})"));
            }
            _ => {}
        }
        if version < self.oldest() {
            return Err(format!("version {version} is older than {}", self.oldest()));
        }
        Ok(version)
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Product::MySql => "MySQL",
            Product::MariaDb => "MariaDB",
            Product::Nats => "nats-server",
        })
    }
}

/// A release: major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// The first `a.b.c` in `text`, with an optional `v` before it.
    pub fn find(text: &str) -> Option<Version> {
        text.split(|c: char| c.is_whitespace() || c == '-').find_map(Version::parse)
    }

    fn parse(word: &str) -> Option<Version> {
        let mut parts = word.strip_prefix('v').unwrap_or(word).splitn(3, '.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let patch: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
        Some(Version(major, minor, patch.parse().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MYSQL: &str = "/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))";
    const MARIADB: &str = "mariadbd  Ver 10.11.18-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64";

    #[test]
    fn versions_are_read_from_what_the_servers_print() {
        assert_eq!(Product::MySql.judge(MYSQL), Ok(Version(9, 7, 4)));
        assert_eq!(Product::MariaDb.judge(MARIADB), Ok(Version(10, 11, 18)));
        assert_eq!(Product::Nats.judge("nats-server: v2.15.1"), Ok(Version(2, 15, 1)));
    }

    #[test]
    fn mariadb_under_the_name_mysqld_is_not_taken_for_mysql() {
        assert!(Product::MySql.judge(MARIADB).unwrap_err().contains("it is MariaDB"));
        assert!(Product::MariaDb.judge(MYSQL).unwrap_err().contains("not MariaDB"));
    }

    #[test]
    fn a_server_that_is_too_old_is_refused() {
        let why = Product::Nats.judge("nats-server: v2.9.10").unwrap_err();
        assert_eq!(why, "version 2.9.10 is older than 2.11.0");
    }
}
