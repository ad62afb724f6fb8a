use super::*;
use tributary_runtime::config::load_with;

fn parse(name: &str, text: &str) -> Result<Settings, String> {
    let path = std::env::temp_dir().join(format!("tributary-worker-{name}-{}", fastrand::u64(..)));
    std::fs::write(&path, text).expect("writes");
    let config = load_with::<Config>(Some(&path), []).map_err(|error| error.to_string());
    std::fs::remove_file(&path).expect("removes");
    config?.validate().map_err(|error| error.to_string())
}

const SMALL: &str =
    "[nats]\nurl = \"nats://localhost:4222\"\n[[shards]]\nname = \"a\"\nhost = \"localhost\"\n";

/// Every key, with its default where it has one.
const WHOLE: &str = r#"
layout = "schema_per_device"
[nats]
url = "nats://127.0.0.1:4222"
urls = []
[stream]
partitions = 64
replicas = 1
max_age_hours = 168
max_gib = 100
[worker]
lease_ttl_s = 15
grace_s = 25
[admin]
listen = "127.0.0.1:9602"
[[shards]]
name = "shard-0"
host = "10.0.0.10"
port = 3306
user = "tributary"
password = "secret"
tls = false
allow_plaintext = true
lanes = 4
weight = 1.0
bookkeeping = "tributary"
[[shards]]
name = "shard-1"
url = "mysql://tributary:secret@10.0.0.11:3306?require_ssl=true"
weight = 2.0
[[routing.rules]]
kind = "pin"
device = "DEVICE_007"
shard = "shard-1"
[[routing.rules]]
kind = "range"
from = "DEVICE_100"
to = "DEVICE_199"
shard = "shard-0"
[[routing.rules]]
kind = "label"
label = "region"
value = "eu-west"
shard = "shard-1"
[[devices]]
id = "DEVICE_042"
labels = { region = "eu-west" }
"#;

#[test]
fn every_key_is_known_and_has_its_default() {
    let example = parse("whole", WHOLE).expect("valid");
    let small = parse("small", SMALL).expect("valid");
    assert_eq!(example.stream.partitions, small.stream.partitions);
    assert_eq!((example.lease_ttl, example.grace), (small.lease_ttl, small.grace));
    assert_eq!((example.shards[0].lanes, example.shards.len()), (small.shards[0].lanes, 2));
    assert_eq!(example.listen, small.listen);
    let device = "DEVICE_042".parse().expect("valid");
    assert_eq!(example.routing.shard_for(&device), Some("shard-1"));
}

#[test]
fn what_contradicts_itself_is_refused_with_its_key() {
    for (more, key) in [
        ("[[shards]]\nname = \"a\"\nhost = \"localhost\"", "shards: "),
        ("[[shards]]\nname = \"b\"", "shards[b].url"),
        ("[[shards]]\nname = \"b c\"\nhost = \"localhost\"", "shards[b c].name"),
        ("[[shards]]\nname = \"b\"\nhost = \"localhost\"\nlanes = 0", "shards[b].lanes"),
        ("[[shards]]\nname = \"b\"\nurl = \"mysql//x\"", "shards[b].url"),
        ("[stream]\npartitions = 0", "stream.partitions"),
        ("[worker]\nid = \"a.b\"", "worker.id"),
        (
            "[[routing.rules]]\nkind = \"pin\"\ndevice = \"d\"\nshard = \"z\"",
            "routing.rules[0].shard",
        ),
        (
            "[[routing.rules]]\nkind = \"range\"\nfrom = \"9\"\nto = \"1\"\nshard = \"a\"",
            "routing.rules[0]",
        ),
    ] {
        let error = parse("bad", &format!("{SMALL}{more}\n")).expect_err(more);
        assert!(error.starts_with(key), "{error}");
    }
}

#[test]
fn the_merged_layout_has_names_of_its_own() {
    let merged = |more: &str| parse("merged", &format!("layout = \"merged\"\n{SMALL}{more}"));
    let settings = merged("").expect("valid");
    let names = settings.shards[0].layout.merged().expect("merged");
    assert_eq!(
        (names.template.as_str(), names.device_column.as_str()),
        ("{database}", "device_id")
    );
    let settings =
        merged("[merged]\ndatabase = \"fleet_{database}\"\ndevice_column = \"_device\"\n");
    let names = settings.expect("valid").shards[0].layout.merged().cloned().expect("merged");
    assert_eq!(names.database("app"), Ok("fleet_app".to_owned()));
    for (more, key) in [
        ("database = \"fleet\"", "merged.database"),
        ("database = \"{database}{database}\"", "merged.database"),
        ("database = \"a__{database}\"", "merged.database"),
        ("device_column = \"device id\"", "merged.device_column"),
    ] {
        let error = merged(&format!("[merged]\n{more}\n")).expect_err(more);
        assert!(error.starts_with(key), "{error}");
    }
    let error = parse("both", &format!("{SMALL}[merged]\n")).expect_err("refused");
    assert!(error.starts_with("merged: belongs to layout"), "{error}");
}

#[test]
fn an_unknown_key_is_refused() {
    let error = parse("unknown", &format!("{SMALL}lane = 4\n")).expect_err("refused");
    assert!(error.contains("lane"), "{error}");
}

#[test]
fn settings_do_not_print_a_password() {
    let text = format!("{SMALL}user = \"u\"\npassword = \"hunter2\"\n");
    let settings = parse("secret", &text).expect("valid");
    assert!(!format!("{settings:?}").contains("hunter2"));
}
