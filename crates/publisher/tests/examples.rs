//! The documents are true: examples load, READMEs quote them, links lead somewhere, every metric is
//! described, and every test that is named exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tributary_publisher::Config;

const READMES: [&str; 2] = ["README.md", "README.zh-CN.md"];
const EXAMPLES: [&str; 2] = ["docs/examples/publisher.toml", "docs/examples/sync-worker.toml"];
const METRICS_PAGE: &str = "docs/operations.md";
/// Pages that name tests: the map, and the decisions.
const PAGES_NAMING_TESTS: [&str; 2] = ["docs/architecture.md", "docs/adr"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below `path` with this ending; what is built and what is hidden left out.
fn files(path: impl AsRef<Path>, ending: &str) -> Vec<PathBuf> {
    let path = root().join(path);
    if path.is_file() {
        return vec![path];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry")) {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// The fenced blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let after = page.split(&opening).skip(1);
    after.filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

/// A page without its fenced blocks and without its code spans.
fn prose(page: &str) -> String {
    let outside = page.split("```").step_by(2).collect::<String>();
    outside.split('`').step_by(2).collect()
}

/// What stands between single backticks, outside of fenced blocks.
fn code_spans(page: &str) -> BTreeSet<String> {
    let outside = page.split("```").step_by(2).collect::<String>();
    outside.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_example_configuration_loads() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("secret");
    fs::write(&secret, "a password\n").expect("written");
    let lines: Vec<String> = read(EXAMPLES[0])
        .lines()
        .map(|line| match line.split_once("\"file:") {
            Some((key, _)) => format!("{key}\"file:{}\"", secret.display()),
            None => line.to_owned(),
        })
        .collect();
    let path = directory.path().join("publisher.toml");
    fs::write(&path, lines.join("\n")).expect("written");
    let (config, device) = Config::load(Some(&path)).expect("it loads");
    assert_eq!(device.as_str(), "DEVICE_001");
    assert_eq!(config.source.password.expose(), "a password");
}

#[test]
fn both_readmes_quote_the_examples_as_they_are() {
    for readme in READMES {
        let quoted = blocks(&read(readme), "toml");
        for example in EXAMPLES {
            assert!(quoted.contains(&read(example)), "{readme} does not quote {example} as it is");
        }
        assert_eq!(quoted.len(), EXAMPLES.len(), "{readme} has a TOML block that is no example");
    }
}

#[test]
fn both_readmes_show_the_same_nats_permissions() {
    let [english, chinese] = READMES.map(|readme| blocks(&read(readme), "conf"));
    assert_eq!(english.len(), 1);
    assert_eq!(english, chinese);
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut broken = Vec::new();
    for page in files("", ".md") {
        let text = prose(&fs::read_to_string(&page).expect("readable"));
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', '#', ' ']).next().unwrap_or_default();
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            let place = page.parent().expect("a directory").join(target);
            if !elsewhere && !place.exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_metric_is_described_and_every_described_metric_exists() {
    let is_metric = |name: &&str| {
        name.starts_with("tributary_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    let mut recorded = BTreeSet::new();
    for source in files("crates", "metrics.rs").iter().filter(|path| !is_of_tests(path)) {
        let text = fs::read_to_string(source).expect("readable");
        recorded.extend(text.split('"').skip(1).step_by(2).filter(is_metric).map(str::to_owned));
    }
    let page = code_spans(&read(METRICS_PAGE));
    let described = page.iter().filter(|name| is_metric(&name.as_str())).cloned().collect();
    let missing: Vec<_> = recorded.difference(&described).collect();
    let unknown: Vec<_> = described.difference(&recorded).collect();
    assert!(missing.is_empty(), "{METRICS_PAGE} does not describe {missing:?}");
    // The names of the buckets begin the same way.
    let buckets = ["tributary_workers", "tributary_leases"];
    let unknown: Vec<_> =
        unknown.into_iter().filter(|name| !buckets.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{METRICS_PAGE} describes {unknown:?}, which nothing records");
}

#[test]
fn every_test_that_is_named_exists() {
    // Names of tests are sentences; no setting and no metric has as many words.
    let is_test = |name: &str| {
        name.matches('_').count() >= 5
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && !name.starts_with("tributary_")
    };
    let sources: Vec<String> = files("crates", ".rs")
        .iter()
        .map(|path| fs::read_to_string(path).expect("readable"))
        .collect();
    let mut named = 0;
    for page in PAGES_NAMING_TESTS.into_iter().flat_map(|path| files(path, ".md")) {
        for name in code_spans(&fs::read_to_string(&page).expect("readable")) {
            if is_test(&name) {
                named += 1;
                let definition = format!("fn {name}(");
                let exists = sources.iter().any(|source| source.contains(&definition));
                assert!(exists, "{} names {name}, and there is no such test", page.display());
            }
        }
    }
    assert!(named > 20, "only {named} tests are named: are the pages still what they were?");
}

/// The kit of the tests reads metrics, and records none.
fn is_of_tests(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "testkit")
}
