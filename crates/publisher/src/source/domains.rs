//! MariaDB's replication domains.

use super::Source;
use crate::Error;
use mysql_async::Row;
use std::collections::BTreeMap;

// === impl Source ===

impl Source {
    /// The domains in which a server that replicates has transactions of several servers in its log, with these
    /// servers. None of a server that replicates nothing: there they are its predecessors.
    ///
    /// # Errors
    /// As every question.
    pub async fn shared_domains(&mut self) -> Result<Vec<(u32, Vec<u32>)>, Error> {
        if self.query::<Row>("SHOW SLAVE STATUS").await?.is_empty() {
            return Ok(Vec::new());
        }
        let state: Vec<String> = self.query("SELECT @@GLOBAL.gtid_binlog_state").await?;
        Ok(shared(state.first().map_or("", String::as_str)))
    }
}

fn shared(state: &str) -> Vec<(u32, Vec<u32>)> {
    let mut domains: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for gtid in state.split(',') {
        let mut parts = gtid.trim().split('-').map(str::parse);
        if let (Some(Ok(domain)), Some(Ok(server))) = (parts.next(), parts.next()) {
            domains.entry(domain).or_default().push(server);
        }
    }
    domains.into_iter().filter(|(_, servers)| servers.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_with_several_servers_is_shared() {
        assert_eq!(shared("0-1-100,5-1-3, 0-2-90"), [(0, vec![1, 2])]);
        assert!(shared("").is_empty() && shared("0-1-5,1-2-5").is_empty());
    }
}
