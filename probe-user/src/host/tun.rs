//! Programs that hold a tun or tap device: they read what the kernel sends through it.

use std::fs;

use super::process;
use crate::model::trace::{Finding, TunProgram};

/// Returns who holds the tun or tap device `interface`; `None` if nobody can be found who does.
pub fn look_up(interface: &str) -> Option<Finding> {
    let programs: Vec<TunProgram> = process::all().filter_map(|pid| holder(pid, interface)).collect();
    (!programs.is_empty()).then(|| Finding::Tun { interface: interface.to_owned(), programs })
}

/// Returns the process if one of its files is that device: `/proc/PID/fdinfo` names it (`tun_chr_show_fdinfo`).
fn holder(pid: u32, interface: &str) -> Option<TunProgram> {
    let folder = format!("/proc/{pid}/fd");
    let links = || fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
    let holds = links().any(|entry| {
        let is_tun = fs::read_link(entry.path())
            .is_ok_and(|to| to.ends_with("net/tun") || to.to_string_lossy().contains("/tap"));
        let number = entry.file_name();
        is_tun
            && fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.to_string_lossy()))
                .is_ok_and(|text| names(&text, interface))
    });
    let is_socket =
        |entry: &fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
    holds.then(|| TunProgram {
        program: process::program(pid),
        pid,
        sockets: u32::try_from(links().filter(is_socket).count()).unwrap_or(u32::MAX),
    })
}

fn names(fdinfo: &str, interface: &str) -> bool {
    fdinfo.lines().any(|line| line.strip_prefix("iff:").is_some_and(|name| name.trim() == interface))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_its_device() {
        assert!(names("pos:\t0\nflags:\t02\niff:\txtun\n", "xtun"));
        assert!(!names("pos:\t0\niff:\txtun2\n", "xtun") && !names("", "xtun"));
    }

    #[test]
    fn what_nobody_holds_has_no_holder() {
        assert_eq!(look_up("no-such-tun"), None);
    }
}
