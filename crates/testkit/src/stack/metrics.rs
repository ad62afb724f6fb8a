//! What a Prometheus endpoint says.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Metrics {
    pub(super) fn parse(text: &str) -> Metrics {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Metrics { samples: lines.filter_map(sample).collect() }
    }

    /// The sample of that name whose labels include the given ones.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples
            .iter()
            .find(|(found, has, _)| {
                found == name
                    && labels.iter().all(|(key, value)| has.get(*key).is_some_and(|v| v == value))
            })
            .map(|(_, _, value)| *value)
    }

    /// The label `wanted` of the sample of that name whose labels include the given ones.
    pub fn label(&self, name: &str, labels: &[(&str, &str)], wanted: &str) -> Option<String> {
        let fits = |has: &BTreeMap<String, String>| {
            labels.iter().all(|(key, value)| has.get(*key).is_some_and(|v| v == value))
        };
        let found = self.samples.iter().find(|(found, has, _)| found == name && fits(has));
        found.and_then(|(_, has, _)| has.get(wanted).cloned())
    }
}

/// `name{key="value",…} 1.5`
fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let (head, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = head.split_once('{') else {
        return Some((head.to_owned(), BTreeMap::new(), value));
    };
    let labels = labels.trim_end_matches('}').split("\",").filter_map(|pair| {
        let (key, value) = pair.split_once("=\"")?;
        Some((key.trim().to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Some((name.to_owned(), labels.collect(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let text = "# HELP x y\nx{device=\"a\",shard=\"s 1\"} 2\nx{device=\"b\"} 3.5\nplain 7\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.get("x", &[("device", "b")]), Some(3.5));
        assert_eq!(metrics.get("plain", &[]), Some(7.0));
        assert_eq!(metrics.label("x", &[("device", "a")], "shard").as_deref(), Some("s 1"));
        assert_eq!(metrics.get("x", &[("device", "c")]), None);
    }
}
