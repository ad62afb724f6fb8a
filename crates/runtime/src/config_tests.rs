use super::*;
use crate::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    device: String,
    nats: Nats,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    shards: BTreeMap<String, Shard>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nats {
    url: String,
    password: Option<Secret>,
    #[serde(default)]
    tls: bool,
    #[serde(default)]
    window: u32,
    #[serde(default)]
    ratio: f64,
    #[serde(default)]
    servers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shard {
    lanes: u16,
}

const MINIMAL: &str = "device = 'D1'\n[nats]\nurl = 'nats://one'\n";

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Service, ConfigError> {
    let file = Scratch(std::env::temp_dir().join(format!("tributary-{}.conf", fastrand::u64(..))));
    std::fs::write(&file.0, text).expect("writes");
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    load_with(Some(&file.0), variables)
}

fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    load_text(text, variables).expect_err("refused").to_string()
}

#[test]
fn variables_go_before_the_file_and_take_the_type_that_the_struct_asks_for() {
    let service = load_text(
        MINIMAL,
        &[
            ("TRIBUTARY_DEVICE", "0012"),
            ("TRIBUTARY_NATS__URL", "nats://two"),
            ("TRIBUTARY_NATS__PASSWORD", "012345"),
            ("TRIBUTARY_NATS__TLS", "true"),
            ("TRIBUTARY_NATS__WINDOW", "64"),
            ("TRIBUTARY_NATS__RATIO", "0.5"),
            ("TRIBUTARY_NATS__SERVERS", "['a', 'b']"),
            ("PATH", "/bin"),
        ],
    )
    .expect("loads");
    assert_eq!(service.device, "0012");
    assert_eq!(service.nats.url, "nats://two");
    assert_eq!(service.nats.password.as_ref().map(Secret::expose), Some("012345"));
    assert!(service.nats.tls);
    assert_eq!((service.nats.window, service.nats.ratio), (64, 0.5));
    assert_eq!(service.nats.servers, ["a", "b"]);
}

#[test]
fn a_password_in_brackets_stays_a_password() {
    let service = load_text(MINIMAL, &[("TRIBUTARY_NATS__PASSWORD", "[s3cret")]).expect("loads");
    assert_eq!(service.nats.password.as_ref().map(Secret::expose), Some("[s3cret"));
}

#[test]
fn the_environment_alone_is_enough() {
    let variables = [("TRIBUTARY_DEVICE", "D2"), ("TRIBUTARY_NATS__URL", "nats://x")];
    let service: Service =
        load_with(None, variables.map(|(name, value)| (name.into(), value.into()))).expect("loads");
    assert_eq!(service.device, "D2");
}

#[test]
fn keys_of_a_users_own_keep_their_case_and_their_dots() {
    let text =
        format!("{MINIMAL}[labels]\nRegion = 'EU'\n\"a.b\" = '1'\n[shards.EU-1]\nlanes = 4\n");
    let service = load_text(
        &text,
        &[
            ("TRIBUTARY_LABELS__REGION", "US"),
            ("TRIBUTARY_LABELS__LineOfBusiness", "cold"),
            ("TRIBUTARY_SHARDS__EU-1__LANES", "8"),
            ("TRIBUTARY_SHARDS__NEW__LANES", "2"),
        ],
    )
    .expect("loads");
    let labels: Vec<_> = service.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("LineOfBusiness", "cold"), ("Region", "US"), ("a.b", "1")]);
    let shards: Vec<_> = service.shards.iter().map(|(k, v)| (k.as_str(), v.lanes)).collect();
    assert_eq!(shards, [("EU-1", 8), ("new", 2)]);
}

#[test]
fn an_unknown_key_of_the_file_is_refused_with_its_name_and_the_file() {
    let error = refused(&format!("{MINIMAL}ur = 'x'\n"), &[]);
    assert!(error.contains("key nats.ur (/") && error.contains(".conf"), "{error}");
    assert!(error.contains("expected one of") && error.contains("correct or remove it"), "{error}");
    let error = refused(&format!("{MINIMAL}[other]\nx = 1\n"), &[]);
    assert!(error.contains("key other (/"), "{error}");
}

#[test]
fn an_unknown_key_of_the_environment_is_refused_with_its_name_and_the_variable() {
    for (variable, key) in [
        ("TRIBUTARY_NATS__URI", "nats.uri"),
        ("TRIBUTARY_NAST__URL", "nast"),
        ("TRIBUTARY_DEVICE_ID", "device_id"),
    ] {
        let error = refused(MINIMAL, &[(variable, "hunter2")]);
        let wanted = format!("key {key} (environment variable {variable})");
        assert!(error.contains(&wanted), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_origin() {
    let error = refused(MINIMAL, &[("TRIBUTARY_NATS__WINDOW", "many")]);
    assert!(
        error.contains("key nats.window (environment variable TRIBUTARY_NATS__WINDOW)"),
        "{error}"
    );
    assert!(error.contains("an integer is wanted"), "{error}");
    let error = refused(&format!("{MINIMAL}window = 'many'\n"), &[]);
    assert!(error.contains("key nats.window (/"), "{error}");
    let error = refused(&format!("{MINIMAL}[shards.one]\nlanes = 70000\n"), &[]);
    assert!(error.contains("key shards.one.lanes (/"), "{error}");
}

#[test]
fn a_missing_key_is_named_with_the_variable_that_would_set_it() {
    let error = refused("device = 'D1'\n[nats]\n", &[]);
    assert!(error.contains("key nats.url is missing"), "{error}");
    assert!(error.ends_with("or as TRIBUTARY_NATS__URL"), "{error}");
}

#[test]
fn a_file_that_is_not_toml_is_named_without_quoting_it() {
    let error = refused("device = 'D1'\n[nats]\npassword = hunter2 hunter2\n", &[]);
    assert!(error.contains("line 3"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error =
        load_with::<Service>(Some(Path::new("/nonexistent.toml")), []).expect_err("refused");
    assert!(error.to_string().contains("cannot read configuration file /nonexistent.toml"));
}

#[test]
fn a_secret_file_that_cannot_be_read_is_named_with_the_key() {
    let error = refused(MINIMAL, &[("TRIBUTARY_NATS__PASSWORD", "file:/nonexistent/password")]);
    assert!(error.contains("key nats.password (environment variable TRIBUTARY_NATS__PASSWORD)"));
    assert!(error.contains("secret file /nonexistent/password cannot be read"), "{error}");
}

#[test]
fn variables_of_the_tools_are_no_settings() {
    let variables = OTHER_VARIABLES.map(|name| (name, "x"));
    assert!(load_text(MINIMAL, &variables).is_ok());
}

#[test]
fn a_variable_that_names_no_key_or_lies_inside_a_value_is_refused() {
    let error = refused(MINIMAL, &[("TRIBUTARY_NATS__", "x")]);
    assert!(error.contains("TRIBUTARY_NATS__ names no key"), "{error}");
    let error = refused(MINIMAL, &[("TRIBUTARY_DEVICE__ID", "x")]);
    assert!(error.contains("TRIBUTARY_DEVICE__ID lies inside a value"), "{error}");
}
