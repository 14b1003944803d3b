//! Programs of others to measure beside probe's, from Debian's archive: unpacked into `.tools`, nothing is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::shell::{run, say};

/// What `benches/packets/others.rs` loads.
const OBJECT: &str = "xdpfilt_alw_ip.o";

/// The object of xdp-filter; none, and a line that says so, where it cannot be had.
pub(crate) fn xdp_filter(tools: &Path) -> Option<PathBuf> {
    let folder = tools.join("xdp-tools");
    let found = find(&folder).or_else(|| {
        fetch(&folder);
        find(&folder)
    });
    if found.is_none() {
        say("xdp-filter is not measured: there is no package xdp-tools to be had here");
    }
    found
}

fn find(folder: &Path) -> Option<PathBuf> {
    let library = fs::read_dir(folder.join("usr/lib")).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    library.map(|architecture| architecture.join("bpf").join(OBJECT)).find(|object| object.exists())
}

/// What does not work here shows in what is not found afterwards.
fn fetch(folder: &Path) {
    if fs::create_dir_all(folder).is_err() {
        return;
    }
    let downloaded = run(Command::new("apt-get").args(["-q", "download", "xdp-tools"]).current_dir(folder)).is_ok();
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    for package in files.filter(|path| downloaded && path.extension().is_some_and(|end| end == "deb")) {
        // As above.
        let _ = run(Command::new("dpkg-deb").arg("-x").arg(package).arg(folder));
    }
}
