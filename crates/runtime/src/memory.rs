//! How a process keeps its memory, where only the environment that it starts with can say so.
//!
//! Messages, decoded batches and statements are large, of many sizes, and freed on other threads than took
//! them. The C library of Linux raises the size from which it gives memory back at once whenever a larger
//! piece is freed, up to 32 MiB, and keeps what is smaller, for each thread: several times as much as is in
//! use (`mallopt(3)`, `M_MMAP_THRESHOLD`). Libraries have such settings as well.

use std::env;
#[cfg(target_os = "linux")]
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Pieces of this size and larger are given back when they are freed; setting it keeps it as it is.
const ALLOCATOR: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "131072");

/// Says that this has been done: to programs with more rights than their user the C library shows no variables of
/// its own, and they would start again for ever.
const DONE: &str = "MEMORY_KEPT_LITTLE";

/// Starts this program again in its place, under the same process id, with these variables and the
/// allocator's, unless the environment has a value for each. To be called before anything is opened.
///
/// Where that is not possible the program goes on as it is, and takes more memory.
pub fn keep_little(variables: &[(&str, &str)]) {
    let wanted = variables.iter().chain([&ALLOCATOR]);
    let missing: Vec<_> = wanted.filter(|(name, _)| env::var_os(name).is_none()).collect();
    if missing.is_empty() || env::var_os(DONE).is_some() {
        return;
    }
    #[cfg(target_os = "linux")]
    if let Some((program, name)) = this_program() {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new(program);
        command.arg0(name).args(env::args_os().skip(1));
        command.envs(missing.into_iter().copied()).env(DONE, "1");
        // It returns only when it has failed.
        let _ = command.exec();
    }
}

/// Where this program is, and the name that it was started by. `None` where it was started by way of another
/// program, such as a dynamic linker.
#[cfg(target_os = "linux")]
fn this_program() -> Option<(PathBuf, OsString)> {
    let (program, name) = (env::current_exe().ok()?, env::args_os().next()?);
    (program.file_name() == Path::new(&name).file_name()).then_some((program, name))
}
