//! Which shard a new device goes to. Pure: the shard that already holds a device is asked first, by
//! the caller, and these rules only decide where a device begins.

use crate::hash;
use std::collections::BTreeMap;
use tributary_wire::DeviceId;

/// A shard as the rules see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The shard's name.
    pub name: String,
    /// Its share of the devices that no rule places, relative to the other shards'.
    pub weight: f64,
}

/// One rule; the first kind that places a device wins: pin, then range, then label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// This device goes to this shard.
    Pin {
        /// The device's id.
        device: String,
        /// The shard's name.
        shard: String,
    },
    /// Devices from one id to another, both included.
    Range {
        /// The bounds.
        range: IdRange,
        /// The shard's name.
        shard: String,
    },
    /// Devices that carry a label.
    Label {
        /// The label, such as `region`.
        label: String,
        /// Its value, such as `eu-west`.
        value: String,
        /// The shard's name.
        shard: String,
    },
}

/// A range of device ids, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdRange {
    /// By the number at the end of the id, whatever stands before it where `prefix` is `None`.
    Numeric {
        /// What must stand before the number.
        prefix: Option<String>,
        /// The first number.
        from: u64,
        /// The last number.
        to: u64,
    },
    /// By the id's bytes.
    Lexical {
        /// The first id.
        from: String,
        /// The last id.
        to: String,
    },
}

/// Labels of devices: `labels[device][label]` is the value.
pub type Labels = BTreeMap<String, BTreeMap<String, String>>;

/// The rules, the shards and the labels, validated.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Routing {
    /// In the order of the configuration.
    pub rules: Vec<Rule>,
    /// Every shard that new devices may go to.
    pub shards: Vec<Candidate>,
    /// Labels of devices.
    pub labels: Labels,
}

// === impl Routing ===

impl Routing {
    /// The shard for a device that no shard holds yet; `None` only without any shard.
    pub fn shard_for(&self, device: &DeviceId) -> Option<&str> {
        let place = |wanted: fn(&Rule) -> u8, kind: u8| {
            let of_kind = self.rules.iter().filter(move |rule| wanted(rule) == kind);
            of_kind.filter(|rule| self.matches(rule, device)).map(Rule::shard).next()
        };
        (0..=2).find_map(|kind| place(Rule::precedence, kind)).or_else(|| self.by_weight(device))
    }

    fn matches(&self, rule: &Rule, device: &DeviceId) -> bool {
        match rule {
            Rule::Pin { device: pinned, .. } => pinned == device.as_str(),
            Rule::Range { range, .. } => range.contains(device.as_str()),
            Rule::Label { label, value, .. } => {
                let labels = self.labels.get(device.as_str());
                labels.and_then(|labels| labels.get(label)) == Some(value)
            }
        }
    }

    fn by_weight(&self, device: &DeviceId) -> Option<&str> {
        let score = |shard: &Candidate| {
            let hash = hash::stable(&["shard", &shard.name, device.as_str()]);
            hash::rendezvous_score(hash, shard.weight)
        };
        let best = self.shards.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        best.map(|shard| shard.name.as_str())
    }
}

// === impl Rule ===

impl Rule {
    /// The shard that it sends devices to.
    pub fn shard(&self) -> &str {
        match self {
            Rule::Pin { shard, .. } | Rule::Range { shard, .. } | Rule::Label { shard, .. } => {
                shard
            }
        }
    }

    fn precedence(&self) -> u8 {
        match self {
            Rule::Pin { .. } => 0,
            Rule::Range { .. } => 1,
            Rule::Label { .. } => 2,
        }
    }
}

// === impl IdRange ===

impl IdRange {
    /// Reads two bounds. Two numbers, or two ids with the same text before their number, are a numeric
    /// range; anything else is compared as text. `None` when `from` comes after `to`.
    pub fn parse(from: &str, to: &str) -> Option<Self> {
        let range = match (split_number(from), split_number(to)) {
            (Some((prefix, low)), Some((same, high))) if prefix == same => {
                let prefix = (!prefix.is_empty()).then(|| prefix.to_owned());
                Self::Numeric { prefix, from: low, to: high }
            }
            _ => Self::Lexical { from: from.to_owned(), to: to.to_owned() },
        };
        let ordered = match &range {
            Self::Numeric { from, to, .. } => from <= to,
            Self::Lexical { from, to } => from <= to,
        };
        ordered.then_some(range)
    }

    /// True when the id lies in the range.
    pub fn contains(&self, id: &str) -> bool {
        match self {
            Self::Numeric { prefix, from, to } => {
                split_number(id).is_some_and(|(before, number)| {
                    prefix.as_deref().is_none_or(|prefix| prefix == before)
                        && (*from..=*to).contains(&number)
                })
            }
            Self::Lexical { from, to } => (from.as_str()..=to.as_str()).contains(&id),
        }
    }
}

/// `DEVICE_007` is `("DEVICE_", 7)`.
fn split_number(id: &str) -> Option<(&str, u64)> {
    let digits = id.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (prefix, number) = id.split_at(id.len() - digits);
    number.parse().ok().map(|number| (prefix, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str) -> DeviceId {
        id.parse().expect("valid")
    }

    fn routing(rules: Vec<Rule>) -> Routing {
        let shard = |name: &str| Candidate { name: name.into(), weight: 1.0 };
        let labels =
            BTreeMap::from([("till-9".into(), BTreeMap::from([("region".into(), "eu".into())]))]);
        Routing { rules, shards: vec![shard("a"), shard("b"), shard("c")], labels }
    }

    #[test]
    fn a_pin_goes_before_a_range_and_a_range_before_a_label_whatever_their_order() {
        let range = IdRange::parse("till-1", "till-9").expect("ordered");
        let routing = routing(vec![
            Rule::Label { label: "region".into(), value: "eu".into(), shard: "label".into() },
            Rule::Range { range, shard: "range".into() },
            Rule::Pin { device: "till-1".into(), shard: "pin".into() },
        ]);
        assert_eq!(routing.shard_for(&device("till-1")), Some("pin"));
        assert_eq!(routing.shard_for(&device("till-9")), Some("range"));
    }

    #[test]
    fn a_label_places_the_devices_that_carry_it() {
        let rule = Rule::Label { label: "region".into(), value: "eu".into(), shard: "c".into() };
        assert_eq!(routing(vec![rule]).shard_for(&device("till-9")), Some("c"));
    }

    #[test]
    fn a_range_of_ids_with_numbers_is_numeric() {
        let range = IdRange::parse("DEVICE_001", "DEVICE_100").expect("ordered");
        for (id, inside) in [
            ("DEVICE_001", true),
            ("DEVICE_7", true),
            ("DEVICE_100", true),
            ("DEVICE_101", false),
            ("OTHER_050", false),
            ("DEVICE", false),
        ] {
            assert_eq!(range.contains(id), inside, "{id}");
        }
        let any_prefix = IdRange::parse("10", "20").expect("ordered");
        assert!(any_prefix.contains("till-15") && !any_prefix.contains("till-21"));
        assert!(IdRange::parse("b", "a").is_none() && IdRange::parse("x9", "x1").is_none());
        assert!(IdRange::parse("alpha", "gamma").expect("ordered").contains("beta"));
    }

    #[test]
    fn adding_a_shard_moves_only_the_devices_that_it_wins() {
        let (before, mut after) = (routing(vec![]), routing(vec![]));
        after.shards.push(Candidate { name: "d".into(), weight: 1.0 });
        let moved = (0..4_000)
            .map(|i| device(&format!("DEVICE_{i}")))
            .filter(|id| before.shard_for(id) != after.shard_for(id))
            .inspect(|id| assert_eq!(after.shard_for(id), Some("d")))
            .count();
        assert!((800..1200).contains(&moved), "{moved} of 4000 instead of about 1000");
    }
}
