//! How a process keeps its memory, where only the environment that it starts with can say so.
//!
//! Messages, decoded batches and statements are large, of many sizes, and freed on other threads than took
//! them. The C library of Linux raises the size from which it gives memory back at once whenever a larger
//! piece is freed, up to 32 MiB, and keeps what is smaller, for each thread: several times as much as is in
//! use (`mallopt(3)`, `M_MMAP_THRESHOLD`). Libraries have such settings as well.

use std::env;

/// Pieces of this size and larger are given back when they are freed; setting it keeps it as it is.
const ALLOCATOR: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "131072");

/// Starts this program again in its place, under the same process id, with these variables and the
/// allocator's, unless the environment has a value for each. To be called before anything is opened.
///
/// Where that is not possible the program goes on as it is, and takes more memory.
pub fn keep_little(variables: &[(&str, &str)]) {
    let wanted = variables.iter().chain([&ALLOCATOR]);
    let missing: Vec<_> = wanted.filter(|(name, _)| env::var_os(name).is_none()).collect();
    #[cfg(target_os = "linux")]
    if !missing.is_empty()
        && let Ok(program) = env::current_exe()
    {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new(program);
        let mut arguments = env::args_os();
        arguments.next().map(|name| command.arg0(name));
        command.args(arguments).envs(missing.into_iter().copied());
        // It returns only when it has failed.
        let _ = command.exec();
    }
}
