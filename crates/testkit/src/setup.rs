//! Makes the servers available: finds them on this system, or fetches them once into the cache.
//!
//! For each product, in this order: the program named by its environment variable (which must do), a
//! program on PATH (used when new enough and able to initialise a data directory, else the reason is
//! printed), and the copy in the cache, which is fetched when it is not there. Fetching is safe to break
//! off and to run in two processes at once: everything is made under a lock, beside its place, and renamed.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result, anyhow, bail};

use crate::apt::{self, Suite};
use crate::cache::{Cache, replace_dir};
use crate::installation::Installation;
use crate::process::find_program;
use crate::product::Product;
use crate::progress::say;
use crate::template;

/// Makes every server available in the default cache and says where each one is. What
/// `cargo xtask setup` runs; takes a minute the first time and milliseconds afterwards.
///
/// # Errors
/// When a server can neither be found nor fetched; the error says what to do.
pub fn run() -> Result<Vec<Installation>> {
    let cache = Cache::open()?;
    let found = Product::ALL.into_iter().map(|product| provide(&cache, product)).collect();
    if cache.has_work() {
        let _held = lock(&cache)?;
        cache.clear_work();
    }
    found
}

/// The server, from the default cache unless this system has one; looked up once per process.
///
/// # Errors
/// See [`run`].
pub fn installation(product: Product) -> Result<&'static Installation> {
    static FOUND: [OnceLock<Installation>; 3] = [const { OnceLock::new() }; 3];
    static LOOKUP: Mutex<()> = Mutex::new(());
    let slot = &FOUND[product as usize];
    let _one_at_a_time = LOOKUP.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if slot.get().is_none() {
        let _ = slot.set(provide(&Cache::open()?, product)?);
    }
    slot.get().context("the installation was just stored")
}

/// The server, from the given cache unless this system has one.
///
/// # Errors
/// See [`run`].
pub fn provide(cache: &Cache, product: Product) -> Result<Installation> {
    if let Some(named) = std::env::var_os(product.variable()).filter(|name| !name.is_empty()) {
        let program = PathBuf::from(named);
        return of_system(cache, product, &program)
            .map_err(|why| anyhow!("{}={}: {why}", product.variable(), program.display()));
    }
    if let Some(program) = on_path(product) {
        match of_system(cache, product, &program) {
            Ok(found) => return Ok(found),
            Err(why) => say(&format!("{product}: not using {}: {why}", program.display())),
        }
    }
    from_cache(cache, product)
}

fn on_path(product: Product) -> Option<PathBuf> {
    let name = Path::new(product.program());
    // Servers are in sbin, which is not on everyone's PATH.
    let sbin = ["/usr/sbin", "/usr/local/sbin"].map(|dir| Path::new(dir).join(name));
    find_program(name).or_else(|| sbin.into_iter().find(|path| path.is_file()))
}

fn of_system(cache: &Cache, product: Product, program: &Path) -> Result<Installation, String> {
    let found = Installation::of_system(program, product)?;
    prepare(cache, &found).map_err(|error| format!("{error:#}"))?;
    Ok(found)
}

fn from_cache(cache: &Cache, product: Product) -> Result<Installation> {
    if let Some(version) = cache.ready(product) {
        let found = Installation::fetched(cache, product, version)?;
        if template::exists(cache, &found) {
            return Ok(found);
        }
    }
    let _held = lock(cache)?;
    if cache.ready(product).is_none() {
        fetch(cache, product).with_context(|| {
            format!(
                "cannot fetch {product}. Instead, install {} or later and put {} on PATH or name it in {}; \
                 or use `docker compose up`",
                product.oldest(),
                product.program(),
                product.variable()
            )
        })?;
    }
    let version = cache.ready(product).context("the fetched server was just marked ready")?;
    let found = Installation::fetched(cache, product, version)?;
    template::ensure(cache, &found)?;
    Ok(found)
}

/// Makes the data directory template of a server that is there.
pub(crate) fn prepare(cache: &Cache, found: &Installation) -> Result<()> {
    if template::exists(cache, found) {
        return Ok(());
    }
    let _held = lock(cache)?;
    template::ensure(cache, found)
}

fn lock(cache: &Cache) -> Result<fs::File> {
    cache.lock(|| say("waiting for another setup to finish"))
}

/// Downloads, unpacks, tries and stamps one product. The caller holds the lock.
fn fetch(cache: &Cache, product: Product) -> Result<()> {
    if let Some(why) = apt::unavailable() {
        bail!("{why}");
    }
    say(&format!("{product}: fetching into {}", cache.root().display()));
    cache.set_absent(product);
    let suite = open_suite(cache, product.suite())?;
    let archives = cache.work(product.key());
    let packages = suite.download(&product.to_string(), product.packages(), &archives)?;

    let draft = cache.work(&format!("{}.unpacked", product.key()));
    apt::unpack(&product.to_string(), &packages, &draft)?;
    let found = Installation::probe_unpacked(&draft, product)?;
    replace_dir(&draft, &cache.prefix(product))?;
    cache.forget_templates(product);
    cache.set_ready(product, found.version)?;
    let _ = fs::remove_dir_all(&archives);
    say(&format!("{product}: {} is ready", found.version));
    Ok(())
}

/// Lists of a suite are read once per process, not once per product.
fn open_suite(cache: &Cache, name: &'static str) -> Result<Suite> {
    static OPEN: Mutex<Option<HashMap<PathBuf, Suite>>> = Mutex::new(None);
    let mut open = OPEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let dir = cache.work(name);
    let known = open.get_or_insert_default();
    if let Some(suite) = known.get(&dir).filter(|_| dir.join("apt.conf").exists()) {
        return Ok(suite.clone());
    }
    let suite = Suite::open(&dir, name)?;
    known.insert(dir, suite.clone());
    Ok(suite)
}
