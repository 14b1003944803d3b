//! Programs that hold a tun or tap device: they read what the kernel sends through it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
};

use super::process;
use crate::model::trace::{Finding, TunCounts, TunProgram};

/// How many UDP ports of a program are told at most.
const MAX_PORTS: usize = 4;

/// Returns who holds the tun or tap device `interface`; `None` if nobody can be found who does.
pub fn look_up(interface: &str) -> Option<Finding> {
    let programs = holders(interface);
    (!programs.is_empty()).then(|| Finding::Tun { interface: interface.to_owned(), programs })
}

/// Returns who holds the tun or tap device `interface` of the calling thread's network namespace.
pub fn holders(interface: &str) -> Vec<TunProgram> {
    process::all().filter_map(|pid| holder(pid, interface)).collect()
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
    holds.then(|| {
        let socket = |entry: fs::DirEntry| {
            let to = fs::read_link(entry.path()).ok()?;
            to.to_string_lossy().strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
        };
        let sockets: BTreeSet<u64> = links().filter_map(socket).collect();
        TunProgram {
            program: process::program(pid),
            pid,
            sockets: u32::try_from(sockets.len()).unwrap_or(u32::MAX),
            ports: if is_here(pid) { udp_ports(&sockets) } else { Vec::new() },
            connections: connections(&sockets),
        }
    })
}

/// Reports whether the process is in the calling thread's network namespace.
fn is_here(pid: u32) -> bool {
    let inode = |path: &str| fs::metadata(path).ok().map(|file| file.ino());
    inode("/proc/thread-self/ns/net").is_some_and(|here| inode(&format!("/proc/{pid}/ns/net")) == Some(here))
}

/// Returns the ports of those of these sockets that are UDP sockets of the calling thread's network namespace.
fn udp_ports(sockets: &BTreeSet<u64>) -> Vec<u16> {
    let text = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    let mut ports: Vec<u16> = [text("udp"), text("udp6")].iter().flat_map(|text| ports_of(text, sockets)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.truncate(MAX_PORTS);
    ports
}

/// Returns how many of these sockets are TCP connections of the calling thread's network namespace.
fn connections(sockets: &BTreeSet<u64>) -> u32 {
    let text = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    let count = |text: String| text.lines().skip(1).filter(|line| is_connection(line, sockets)).count();
    u32::try_from(count(text("tcp")) + count(text("tcp6"))).unwrap_or(u32::MAX)
}

/// Reports whether a line of `/proc/net/tcp` is an established connection of one of these sockets.
fn is_connection(line: &str, sockets: &BTreeSet<u64>) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let inode = words.get(9).and_then(|inode| inode.parse().ok());
    words.get(3) == Some(&"01") && inode.is_some_and(|inode: u64| sockets.contains(&inode))
}

/// Reports whether the process has the socket by which WireGuard in user space is asked about this device.
pub fn answers_wg(pid: u32, interface: &str) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap_or_default();
    let end = format!("/wireguard/{interface}.sock");
    let sockets = text.lines().filter(|line| line.ends_with(&end));
    let inodes: Vec<String> =
        sockets.filter_map(|line| Some(format!("socket:[{}]", line.split_whitespace().nth(6)?))).collect();
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().filter_map(Result::ok);
    let mut links = files.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|to| inodes.iter().any(|inode| to.as_os_str() == inode.as_str()))
}

/// Returns the local ports of these sockets, as `/proc/net/udp` lists them.
fn ports_of(text: &str, sockets: &BTreeSet<u64>) -> Vec<u16> {
    let port = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let inode: u64 = words.get(9)?.parse().ok()?;
        let port = u16::from_str_radix(words.get(1)?.rsplit_once(':')?.1, 16).ok()?;
        (port != 0 && sockets.contains(&inode)).then_some(port)
    };
    text.lines().skip(1).filter_map(port).collect()
}

/// Returns what the tun devices of the calling thread's network namespace counted, by their names.
pub fn counts() -> BTreeMap<String, TunCounts> {
    counts_of(&fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default())
}

/// Reads `/proc/net/dev`: what a program reads from its device, the device has sent.
fn counts_of(text: &str) -> BTreeMap<String, TunCounts> {
    let device = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let counts = TunCounts { written: *numbers.get(1)?, read: *numbers.get(9)?, refused: *numbers.get(11)? };
        Some((name.trim().to_owned(), counts))
    };
    text.lines().filter_map(device).collect()
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

    #[test]
    fn ports_are_those_of_the_sockets_of_a_program() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n   \
            1: 00000000:141F 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 81234 2 00000000c0ffee00 0\n   \
            2: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 81235 2 00000000c0ffee00 0\n";
        assert_eq!(ports_of(text, &BTreeSet::from([81_234, 9])), [5151]);
    }

    #[test]
    fn what_a_device_sent_its_program_read() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n  \
            xtun:     840      7    0    0    0     0          0         0     1008      12    0    3    0     0       0          0\n";
        let counts = counts_of(text);
        assert_eq!(counts.get("xtun"), Some(&TunCounts { read: 12, written: 7, refused: 3 }));
        assert_eq!(counts.len(), 1);
    }
}
