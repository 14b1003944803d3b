//! Processes by id and start time: the kernel reuses ids.

use std::fs;

/// Returns when the process `pid` started, in clock ticks since boot; `None` if there is no such process.
pub fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces and parentheses of its own; field 3 follows the last one.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Lists the processes of this host, the lowest number first: mostly the oldest, until the numbers begin anew.
pub fn all() -> impl Iterator<Item = u32> {
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let mut pids: Vec<u32> = entries.filter_map(number).collect();
    pids.sort_unstable();
    pids.into_iter()
}

/// Returns the name of a process's program; empty if it is gone.
pub fn program(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_started_and_one_that_cannot_be_has_not() {
        assert!(started(std::process::id()).is_some());
        assert_eq!(started(u32::MAX), None);
    }

    #[test]
    fn this_process_is_listed_with_its_name() {
        assert!(all().any(|pid| pid == std::process::id()));
        assert!(!program(std::process::id()).is_empty() && program(u32::MAX).is_empty());
    }
}
