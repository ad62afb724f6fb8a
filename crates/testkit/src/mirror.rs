//! Which Debian mirror to fetch from: the one that this system's apt is already configured with.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Names a mirror, for a system whose apt has none (or whose mirror lacks a suite).
const VARIABLE: &str = "TRIBUTARY_DEBIAN_MIRROR";

/// Candidate mirrors, most likely first. apt verifies signatures against Debian's own keyring, so trying
/// a repository that turns out not to be Debian's fails and does no harm.
pub(crate) fn candidates(empty_lists: &std::path::Path) -> Result<Vec<String>> {
    if let Some(mirror) = std::env::var(VARIABLE).ok().filter(|uri| !uri.is_empty()) {
        return Ok(vec![mirror]);
    }
    // With an empty list directory, `update --print-uris` names every configured repository, whether
    // or not this system has ever downloaded its lists.
    let output = Command::new("apt-get")
        .args(["update", "--print-uris", "-o", "Debug::NoLocking=true"])
        .arg("-o")
        .arg(format!("Dir::State::Lists={}", empty_lists.display()))
        .env("LC_ALL", "C")
        .output()
        .context("cannot run apt-get to learn this system's Debian mirror")?;
    let found = rank(&String::from_utf8_lossy(&output.stdout));
    if found.is_empty() {
        bail!("apt on this system names no Debian mirror: set {VARIABLE} to one");
    }
    Ok(found)
}

/// Debian's archive keyring, as the package debian-archive-keyring installs it.
pub(crate) fn keyring() -> Result<PathBuf> {
    ["gpg", "pgp"]
        .iter()
        .map(|end| PathBuf::from(format!("/usr/share/keyrings/debian-archive-keyring.{end}")))
        .find(|path| path.exists())
        .context("Debian's keyring is missing: install the package debian-archive-keyring")
}

/// From `'<uri>/dists/<suite>/InRelease' …` lines to distinct repositories, those that look like Debian's
/// main archive first.
fn rank(print_uris: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in print_uris.lines() {
        let Some(uri) = line.strip_prefix('\'').and_then(|rest| rest.split('\'').next()) else {
            continue;
        };
        let Some((repository, rest)) = uri.split_once("/dists/") else { continue };
        if rest.ends_with("/InRelease") && !found.iter().any(|known| known == repository) {
            found.push(repository.to_owned());
        }
    }
    found.retain(|uri| !uri.contains("security"));
    found.sort_by_key(|uri| !(uri.ends_with("/debian") || uri.ends_with("debian.list")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_comes_before_other_repositories() {
        let printed = "\
'http://vendor.example/linux/tool/dists/stable/InRelease' a 0 
'http://mirror.example/debian/dists/bookworm/InRelease' b 0 
'http://mirror.example/debian/dists/bookworm-updates/InRelease' c 0 
'http://mirror.example/debian-security/dists/bookworm-security/InRelease' d 0 
'http://mirror.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' e 0 ";
        let expected = ["http://mirror.example/debian", "http://vendor.example/linux/tool"];
        assert_eq!(rank(printed), expected);
    }
}
