//! Whether a shard can keep the tables of all its devices open. Each statement for a table that is not
//! open opens it: with the tables of two thousand devices, a default MySQL 9.7 took a thousand rows a
//! second on one connection, and eight thousand with caches that hold them all.

use super::Verdict;
use crate::session::Session;

/// Both caches can be no larger (MySQL's limit; MariaDB's are higher).
const CACHE_MAX: u64 = 524_288;
/// Below this share of a cache, in percent, its tables have room.
const FULL_PERCENT: u64 = 80;

/// What a shard holds, and what it may keep open.
#[derive(Debug, Clone, Copy)]
struct Caches {
    mariadb: bool,
    /// Tables and views of devices, and whatever else is there.
    tables: u64,
    /// `table_open_cache`: open tables of all connections.
    open: u64,
    /// `table_definition_cache`: definitions.
    definitions: u64,
    /// `open_files_limit`: a server that starts lowers its caches to what this allows.
    files: u64,
    connections: u64,
}

/// Tables, caches, files and connections, as they stand in [`Caches`].
type Numbers = (u64, u64, u64, u64, u64);

pub(super) async fn look(session: &mut Session) -> Verdict {
    let mariadb = session.server().mariadb;
    let sql = "SELECT COUNT(*), @@global.table_open_cache, @@global.table_definition_cache, \
               @@global.open_files_limit, @@global.max_connections FROM information_schema.tables";
    let rows = session.rows::<Numbers>("count the tables", sql).await;
    match rows.map(|rows| rows.first().copied()) {
        Ok(Some((tables, open, definitions, files, connections))) => {
            Caches { mariadb, tables, open, definitions, files, connections }.verdict()
        }
        Ok(None) => Verdict::Bad("the server does not say how many tables it has".to_owned()),
        Err(error) => Verdict::Bad(error.to_string()),
    }
}

// === impl Caches ===

impl Caches {
    fn verdict(self) -> Verdict {
        let Self { tables, open, definitions, .. } = self;
        let smallest = open.min(definitions);
        if tables * 100 <= smallest * FULL_PERCENT || smallest >= CACHE_MAX {
            return Verdict::Good(format!(
                "{tables} tables, table_open_cache {open}, table_definition_cache {definitions}"
            ));
        }
        // Room for as many tables again.
        let wanted = (tables * 2).next_multiple_of(1000).min(CACHE_MAX);
        let fix = if self.mariadb {
            format!(
                "SET GLOBAL table_open_cache = {wanted}; SET GLOBAL table_definition_cache = {wanted}; and both under [mysqld] in my.cnf"
            )
        } else {
            format!(
                "SET PERSIST table_open_cache = {wanted}; SET PERSIST table_definition_cache = {wanted}"
            )
        };
        Verdict::Doubtful(format!(
            "{tables} tables, but table_open_cache is {open} and table_definition_cache {definitions}: tables are opened again and again, which costs most of the speed; {fix}{}",
            self.files_too(wanted)
        ))
    }

    /// What the operating system has to allow, where it does not.
    fn files_too(self, wanted: u64) -> String {
        // As the servers reckon when they start: two files a table, and one a connection.
        let needed = wanted * 2 + self.connections + 10;
        if self.files >= needed {
            return String::new();
        }
        format!(
            "; and open_files_limit, which is {}, to {needed} or more (in my.cnf, and LimitNOFILE in the server's systemd unit), or the next start lowers the caches",
            self.files
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shard_that_holds_many_tables_is_told_to_keep_more_open() {
        let defaults = Caches {
            mariadb: false,
            tables: 900,
            open: 4000,
            definitions: 2000,
            files: 10_000,
            connections: 151,
        };
        assert!(matches!(defaults.verdict(), Verdict::Good(_)));
        let many = Caches { tables: 20_000, ..defaults };
        let Verdict::Doubtful(text) = many.verdict() else { panic!("{:?}", many.verdict()) };
        assert!(text.contains("SET PERSIST table_open_cache = 40000;"), "{text}");
        assert!(text.contains("open_files_limit, which is 10000, to 80161"), "{text}");
        let Verdict::Doubtful(text) = Caches { mariadb: true, files: 1 << 20, ..many }.verdict()
        else {
            panic!("no drawback")
        };
        assert!(text.contains("SET GLOBAL") && text.contains("my.cnf"), "{text}");
        assert!(!text.contains("open_files_limit"), "{text}");
        let raised = Caches { open: 40_000, definitions: 40_000, ..many };
        assert!(matches!(raised.verdict(), Verdict::Good(_)));
    }
}
