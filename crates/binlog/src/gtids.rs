//! GTIDs: which transactions of a log are behind a place in it.

use crate::BinlogError;
use std::collections::BTreeMap;
use std::fmt;

/// The transactions before a place in the log, in the server's own notation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gtids {
    /// A set: `uuid:1-5:7,uuid:1-3`, tags included.
    MySql(GtidSet),
    /// A position: the last transaction of every domain in the order of the log, `0-1-100,5-2-9`.
    MariaDb(BTreeMap<u32, (u32, u64)>),
}

/// A set of MySQL's GTIDs: intervals of numbers by server, or by server and tag.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GtidSet {
    /// By `(uuid, tag)`; closed intervals in order, none touching the next.
    intervals: BTreeMap<(String, String), Vec<(u64, u64)>>,
}

// === impl Gtids ===

impl Gtids {
    /// Reads a set or a position; the flavour decides which, for an empty text is either.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str, mariadb: bool) -> Result<Self, BinlogError> {
        if !mariadb {
            return GtidSet::parse(text).map(Self::MySql);
        }
        let mut domains = BTreeMap::new();
        for gtid in text.split(',').map(str::trim).filter(|gtid| !gtid.is_empty()) {
            let (domain, server, sequence) = mariadb_gtid(gtid).ok_or_else(|| wrong(gtid))?;
            domains.insert(domain, (server, sequence));
        }
        Ok(Self::MariaDb(domains))
    }

    /// Adds a transaction.
    ///
    /// # Errors
    /// When `gtid` is none of this flavour.
    pub fn insert(&mut self, gtid: &str) -> Result<(), BinlogError> {
        match self {
            Self::MySql(set) => set.insert(gtid),
            Self::MariaDb(domains) => {
                let (domain, server, sequence) = mariadb_gtid(gtid).ok_or_else(|| wrong(gtid))?;
                domains.insert(domain, (server, sequence));
                Ok(())
            }
        }
    }

    /// True when the transaction is known to be among them. A position of MariaDB's proves that of the
    /// last of a domain alone: a lower number may be another server's that came later.
    pub fn contains(&self, gtid: &str) -> bool {
        match self {
            Self::MySql(set) => set.contains(gtid),
            Self::MariaDb(domains) => {
                mariadb_gtid(gtid).is_some_and(|(domain, server, sequence)| {
                    domains.get(&domain) == Some(&(server, sequence))
                })
            }
        }
    }

    /// For another server's log, which holds these and goes on behind them: true for a transaction that is
    /// one of them. On MariaDB they are awaited: all that a domain brings until its last, which is then no
    /// more awaited.
    pub fn passes(&mut self, gtid: &str) -> bool {
        let contained = self.contains(gtid);
        let Self::MariaDb(domains) = self else { return contained };
        let Some((domain, ..)) = mariadb_gtid(gtid) else { return false };
        let awaited = domains.contains_key(&domain);
        if contained {
            domains.remove(&domain);
        }
        awaited
    }
}

impl fmt::Display for Gtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(set) => set.fmt(f),
            Self::MariaDb(domains) => {
                for (nth, (domain, (server, sequence))) in domains.iter().enumerate() {
                    let comma = if nth > 0 { "," } else { "" };
                    write!(f, "{comma}{domain}-{server}-{sequence}")?;
                }
                Ok(())
            }
        }
    }
}

fn wrong(text: &str) -> BinlogError {
    BinlogError::malformed(
        "GTID",
        format!("{:?} is no GTID", text.chars().take(80).collect::<String>()),
    )
}

/// `domain-server-sequence`.
pub(crate) fn mariadb_gtid(text: &str) -> Option<(u32, u32, u64)> {
    let mut parts = text.split('-');
    let gtid =
        (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(gtid)
}

// === impl GtidSet ===

impl GtidSet {
    /// Reads a set as the server prints it; white space is ignored.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, BinlogError> {
        let mut set = Self::default();
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        for of_server in text.split(',').filter(|part| !part.is_empty()) {
            let mut parts = of_server.split(':');
            let uuid = parts.next().filter(|uuid| is_uuid(uuid)).ok_or_else(|| wrong(of_server))?;
            let mut tag = "";
            for part in parts {
                if part.starts_with(|c: char| c.is_ascii_digit()) {
                    let (first, last) = part.split_once('-').unwrap_or((part, part));
                    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong(of_server));
                    set.add(uuid, tag, number(first)?, number(last)?);
                } else {
                    tag = part;
                }
            }
        }
        Ok(set)
    }

    fn insert(&mut self, gtid: &str) -> Result<(), BinlogError> {
        let (uuid, tag, number) = split(gtid).ok_or_else(|| wrong(gtid))?;
        self.add(uuid, tag, number, number);
        Ok(())
    }

    fn contains(&self, gtid: &str) -> bool {
        let Some((uuid, tag, number)) = split(gtid) else { return false };
        let intervals = self.intervals.get(&(uuid.to_ascii_lowercase(), tag.to_ascii_lowercase()));
        intervals.is_some_and(|list| list.iter().any(|&(a, b)| (a..=b).contains(&number)))
    }

    fn add(&mut self, uuid: &str, tag: &str, first: u64, last: u64) {
        let key = (uuid.to_ascii_lowercase(), tag.to_ascii_lowercase());
        let list = self.intervals.entry(key).or_default();
        // Nearly always the next number of the last interval.
        if let Some(newest) = list.last_mut()
            && newest.1.checked_add(1) == Some(first)
            && first <= last
        {
            newest.1 = last;
            return;
        }
        if first > last {
            return;
        }
        list.push((first, last));
        list.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(list.len());
        for &(a, b) in list.iter() {
            match merged.last_mut() {
                Some(before) if a <= before.1.saturating_add(1) => before.1 = before.1.max(b),
                _ => merged.push((a, b)),
            }
        }
        *list = merged;
    }
}

/// `uuid:1-5:7:tag:1,uuid:…`: as the server prints it, without line breaks.
impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = "";
        for (uuid, tag) in self.intervals.keys() {
            if uuid != server {
                let comma = if server.is_empty() { "" } else { "," };
                write!(f, "{comma}{uuid}")?;
                server = uuid;
            }
            if !tag.is_empty() {
                write!(f, ":{tag}")?;
            }
            for (first, last) in &self.intervals[&(uuid.clone(), tag.clone())] {
                if first == last { write!(f, ":{first}")? } else { write!(f, ":{first}-{last}")? }
            }
        }
        Ok(())
    }
}

/// `uuid:number` or `uuid:tag:number`.
fn split(gtid: &str) -> Option<(&str, &str, u64)> {
    let (uuid, rest) = gtid.split_once(':')?;
    let (tag, number) = rest.split_once(':').unwrap_or(("", rest));
    is_uuid(uuid).then_some((uuid, tag, number.parse().ok()?))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "6d1b6a4e-0000-11f0-8000-0242ac110002";
    const B: &str = "7d1b6a4e-0000-11f0-8000-0242ac110002";

    #[test]
    fn a_set_is_printed_as_it_was_read() {
        for text in [
            String::new(),
            format!("{A}:1"),
            format!("{A}:1-5:7,{B}:1-3"),
            format!("{A}:1-5:backup:1-2:9:nightly:4,{B}:8"),
        ] {
            let spaced = text.replace(',', ",\n");
            assert_eq!(Gtids::parse(&spaced, false).expect("a set").to_string(), text);
        }
    }

    #[test]
    fn transactions_join_the_intervals_that_they_touch() {
        let mut gtids = Gtids::parse(&format!("{A}:1-5:7"), false).expect("a set");
        for (number, printed) in [("8", "1-5:7-8"), ("6", "1-8"), ("20", "1-8:20"), ("3", "1-8:20")]
        {
            gtids.insert(&format!("{A}:{number}")).expect("a GTID");
            assert_eq!(gtids.to_string(), format!("{A}:{printed}"));
        }
        assert!(gtids.contains(&format!("{}:8", A.to_uppercase())));
        assert!(!gtids.contains(&format!("{A}:9")) && !gtids.contains(&format!("{A}:tag:8")));
    }

    #[test]
    fn a_position_keeps_the_last_of_every_domain_in_the_order_of_the_log() {
        let mut gtids = Gtids::parse("0-1-100, 5-2-9", true).expect("a position");
        for (gtid, printed) in [("0-3-101", "0-3-101,5-2-9"), ("0-1-60", "0-1-60,5-2-9")] {
            gtids.insert(gtid).expect("a GTID");
            assert_eq!(gtids.to_string(), printed);
        }
        assert!(gtids.contains("0-1-60") && gtids.contains("5-2-9"));
        assert!(!gtids.contains("0-1-59") && !gtids.contains("0-2-60") && !gtids.contains("7-1-1"));
    }

    #[test]
    fn what_another_log_repeats_is_passed_up_to_the_last_of_its_domain() {
        let mut carried = Gtids::parse("0-1-103,5-1-2", true).expect("a position");
        for (gtid, passes) in [
            ("0-1-52", true),
            ("0-2-60", true),
            ("7-1-1", false),
            ("0-1-103", true),
            ("0-2-104", false),
            ("0-1-53", false),
            ("5-1-1", true),
            ("5-1-2", true),
            ("5-1-3", false),
        ] {
            assert_eq!(carried.passes(gtid), passes, "{gtid}");
        }
        let mut carried = Gtids::parse(&format!("{A}:1-5"), false).expect("a set");
        assert!(carried.passes(&format!("{A}:5")) && !carried.passes(&format!("{A}:6")));
    }

    proptest::proptest! {
        #[test]
        fn inserting_a_contained_gtid_changes_nothing(
            inserted in proptest::collection::vec((0_u32..3, 1_u32..3, 1_u64..30), 1..40),
            mariadb: bool,
        ) {
            let name = |(domain, server, number): &(u32, u32, u64)| match mariadb {
                true => format!("{domain}-{server}-{number}"),
                false => format!("{}:{number}", if domain % 2 == 0 { A } else { B }),
            };
            let mut gtids = Gtids::parse("", mariadb).expect("empty");
            for gtid in inserted.iter().map(name) {
                gtids.insert(&gtid).expect("a GTID");
                proptest::prop_assert!(gtids.contains(&gtid));
                for contained in inserted.iter().map(name).filter(|gtid| gtids.contains(gtid)) {
                    let mut again = gtids.clone();
                    again.insert(&contained).expect("a GTID");
                    proptest::prop_assert_eq!(&again, &gtids);
                }
            }
        }
    }

    #[test]
    fn what_is_no_gtid_is_refused() {
        for (text, mariadb) in
            [("nonsense", false), ("a:1", false), ("0-1", true), ("0-1-2-3", true)]
        {
            assert!(Gtids::parse(text, mariadb).is_err(), "{text}");
        }
        assert!(Gtids::parse("", false).expect("empty").insert("0-1-5").is_err());
    }
}
