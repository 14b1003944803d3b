//! Other people's filters, to measure beside probe's: xdp-filter of xdp-tools.

use std::{
    env, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::bare;

/// xdp-filter that lets pass what is not listed, by IP address: what it is for an echo filter.
const OBJECT: &str = "xdpfilt_alw_ip.o";

/// Where Debian's package has it, and where `cargo xtask bench` unpacks that.
fn object() -> Option<PathBuf> {
    let given = env::args().find_map(|word| word.strip_prefix("xdp-filter=").map(PathBuf::from));
    let library = Path::new("/usr/lib");
    let installed = [library.join("x86_64-linux-gnu/bpf"), library.join("aarch64-linux-gnu/bpf"), library.join("bpf")];
    given.into_iter().chain(installed.into_iter().map(|folder| folder.join(OBJECT))).find(|path| path.exists())
}

/// xdp-filter with one rule, which drops what comes from `source`; nothing, and a line that says so, where it is not here.
pub(crate) fn xdp_filter(source: [u8; 4]) -> Option<OwnedFd> {
    let loaded =
        object().ok_or_else(|| io::Error::other("its object is not here")).and_then(|object| load(&object, source));
    loaded.inspect_err(|error| eprintln!("SKIPPED xdp-filter of xdp-tools ({error}): apt-get install xdp-tools")).ok()
}

fn load(object: &Path, source: [u8; 4]) -> io::Result<OwnedFd> {
    // It pins its maps under their bare names: on a bpffs of this process's own they are nobody else's.
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), none)?;
    let object = object.display().to_string();
    bpftool(&["prog", "load", &object, "/sys/fs/bpf/bench_xdp_filter", "type", "xdp"])?;
    let key = source.map(|byte| format!("{byte:02x}"));
    let mut rule = vec!["map", "update", "pinned", "/sys/fs/bpf/filter_ipv4", "key", "hex"];
    rule.extend(key.iter().map(String::as_str));
    // MAP_FLAG_SRC: the address is listed as a source.
    rule.extend(["value", "hex", "01", "00", "00", "00", "00", "00", "00", "00"]);
    bpftool(&rule)?;
    bare::open_pin(c"/sys/fs/bpf/bench_xdp_filter")
}

fn bpftool(words: &[&str]) -> io::Result<()> {
    let status = Command::new("bpftool").args(words).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("bpftool {} {}: {status}", words[0], words[1])))
    }
}
