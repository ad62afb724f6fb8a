//! `cargo xtask test`: all tests, on the real servers.

use anyhow::Result;
use clap::Args;

use crate::step;

/// Run every test of the workspace, on real servers that are fetched first if need be.
#[derive(Args)]
#[command(after_help = "\
Uses cargo-nextest where it is installed (a hung test is ended there), else cargo test.

Examples:
  cargo xtask test
  cargo xtask test -p tributary-wire        one crate
  cargo xtask test chain                    tests with `chain` in their name
  cargo xtask test -- --no-capture          with their output")]
pub(crate) struct Arguments {
    /// Passed on to the test runner.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) rest: Vec<String>,
}

/// Makes the servers available and runs the tests.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tributary_testkit::setup::run()?;
    let mut words = match step::cargo_has("nextest") {
        true => vec!["nextest", "run"],
        false => {
            step::skip("nextest", "cargo-nextest is not installed; running cargo test");
            vec!["test"]
        }
    };
    let names_package =
        |word: &String| ["-p", "--package"].iter().any(|flag| word.starts_with(flag));
    if !arguments.rest.iter().any(names_package) {
        words.push("--workspace");
    }
    words.extend(arguments.rest.iter().map(String::as_str));
    step::run("test", &mut step::cargo(words))
}
