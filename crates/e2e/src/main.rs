//! `tributary-cases`: runs the cases of `crates/e2e/cases/`. `cargo xtask cases` builds and starts it.

use std::collections::VecDeque;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use tributary_e2e::cases::{self, Case, Known, Layout, Outcome, Pair, Run, Servers, Way};

/// Run the cases: SQL of applications, tools and bug reports, on every pairing and layout that each names.
///
/// Prints a line for each run: what came of it, and how that is to be judged. Exit code 1 when a run is not as
/// its expect.json says and is not listed in crates/e2e/cases/known.toml, or is listed there and is right.
#[derive(Debug, Parser)]
#[command(
    bin_name = "cargo xtask cases",
    after_help = "\
Examples:
  cargo xtask cases                                  all of them
  cargo xtask cases 04-add-auto-increment            one
  cargo xtask cases c0 --pair mariadb-mariadb        those whose name begins so, on one pairing
  cargo xtask cases --layout merged --json           a line of JSON for each run
  cargo xtask cases --share 0/4                      every fourth, from the first on
  cargo xtask cases --list                           which there are, and what each asks for"
)]
struct Arguments {
    /// Cases whose name is, or begins with, one of these; all without.
    names: Vec<String>,
    /// On this pairing alone, such as mysql-mariadb (the device's server, the shard's).
    #[arg(long)]
    pair: Option<Pair>,
    /// In this layout alone: schema_per_device or merged.
    #[arg(long)]
    layout: Option<Layout>,
    /// JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// Run nothing; print what would be run.
    #[arg(long)]
    list: bool,
    /// Of all runs that are not slow, each n-th, from the k-th on.
    #[arg(long, value_name = "k/n", value_parser = share)]
    share: Option<(usize, usize)>,
    /// How many at once.
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Seconds until a run that comes to no end is stuck.
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// The folder of the cases.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/cases"))]
    directory: std::path::PathBuf,
}

fn share(text: &str) -> Result<(usize, usize)> {
    let (k, n) = text.split_once('/').context("a share is 0/4 or so")?;
    let (k, n) = (k.parse()?, n.parse()?);
    ensure!(k < n, "{k} is not less than {n}");
    Ok((k, n))
}

/// How a run is to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Right,
    /// Not right, and listed.
    Known,
    Wrong,
    /// Right, and listed.
    Mended,
}

impl Mark {
    fn word(self) -> &'static str {
        match self {
            Mark::Right => "ok",
            Mark::Known => "known",
            Mark::Wrong => "WRONG",
            Mark::Mended => "MENDED",
        }
    }
}

fn main() -> ExitCode {
    match all(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all(arguments: &Arguments) -> Result<bool> {
    let began = Instant::now();
    let cases = Case::all(&arguments.directory)?;
    let known = known(&arguments.directory, &cases)?;
    let runs = chosen(&cases, arguments)?;
    if arguments.list {
        runs.iter().for_each(|run| println!("{run}: {}", run.case.expectation.verdict));
        return Ok(true);
    }
    let queue = Mutex::new(VecDeque::from(runs));
    let servers = Servers::default();
    let marks = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs.max(1))
            .map(|_| scope.spawn(|| work(&queue, &servers, &known, arguments, &marks)))
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("a run panicked"),
        })
    })?;
    let marks = marks.into_inner().unwrap_or_else(PoisonError::into_inner);
    let count = |mark| marks.iter().filter(|found| **found == mark).count();
    eprintln!(
        "{} runs in {:.0} s: {} right, {} known not to be, {} wrong, {} listed in known.toml and right",
        marks.len(),
        began.elapsed().as_secs_f64(),
        count(Mark::Right),
        count(Mark::Known),
        count(Mark::Wrong),
        count(Mark::Mended)
    );
    Ok(count(Mark::Wrong) + count(Mark::Mended) == 0)
}

fn known(directory: &Path, cases: &[Case]) -> Result<Known> {
    match std::fs::read_to_string(directory.join("known.toml")) {
        Ok(text) => Known::parse(&text, cases),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Known::default()),
        Err(error) => Err(error.into()),
    }
}

/// The runs that are asked for; those on the same servers follow each other.
fn chosen<'c>(cases: &'c [Case], arguments: &Arguments) -> Result<Vec<Run<'c>>> {
    for name in &arguments.names {
        ensure!(cases.iter().any(|case| case.name.starts_with(name)), "there is no case {name}");
    }
    let is_named = |case: &Case| {
        arguments.names.is_empty() || arguments.names.iter().any(|name| case.name.starts_with(name))
    };
    let runs = cases.iter().filter(|case| is_named(case)).flat_map(Case::runs);
    let mut runs: Vec<Run<'_>> = runs
        .filter(|run| arguments.pair.is_none_or(|pair| pair == run.pair))
        .filter(|run| arguments.layout.is_none_or(|layout| layout == run.layout))
        .collect();
    if let Some((k, n)) = arguments.share {
        runs.retain(|run| !run.case.expectation.slow);
        let every = runs.into_iter().skip(k).step_by(n);
        runs = every.collect();
    }
    // The long ones first, so that none of them is alone in the end.
    runs.sort_by_key(|run| (!run.case.expectation.slow, run.pair.to_string()));
    Ok(runs)
}

fn work<'c>(
    queue: &Mutex<VecDeque<Run<'c>>>,
    servers: &Servers,
    known: &Known,
    arguments: &Arguments,
    marks: &Mutex<Vec<Mark>>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let patience = Duration::from_secs(arguments.patience);
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(run) = next else { return Ok(()) };
        let began = Instant::now();
        let outcome = runtime.block_on(cases::run(&run, servers, patience));
        let reason = known.reason(&run);
        let mark = match (outcome.verdict.fits(&run.case.expectation), reason) {
            (true, None) => Mark::Right,
            (true, Some(_)) => Mark::Mended,
            (false, Some(_)) => Mark::Known,
            (false, None) => Mark::Wrong,
        };
        let seconds = began.elapsed().as_secs_f64();
        println!("{}", line(&run, &outcome, mark, reason, seconds, arguments.json));
        marks.lock().unwrap_or_else(PoisonError::into_inner).push(mark);
    }
}

fn line(
    run: &Run<'_>,
    outcome: &Outcome,
    mark: Mark,
    reason: Option<&str>,
    seconds: f64,
    json: bool,
) -> String {
    let Outcome { verdict, refused } = outcome;
    if json {
        let object = serde_json::json!({
            "case": run.case.name,
            "pair": run.pair.to_string(),
            "layout": run.layout.name(),
            "by_log": run.way == Way::Log,
            "verdict": verdict.to_string(),
            "mark": mark.word(),
            "known": reason,
            "refused": refused,
            "seconds": seconds,
        });
        return object.to_string();
    }
    let reason = reason.map_or_else(String::new, |reason| format!(" [known: {reason}]"));
    let refused: String =
        refused.iter().map(|refused| format!(" [the server refused: {refused}]")).collect();
    format!("{:6} {run}: {verdict}{reason}{refused} ({seconds:.1} s)", mark.word())
}
