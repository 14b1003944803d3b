//! Other people's programs to measure beside probe's, from Debian's archive: unpacked into `.tools`, nothing is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::shell::{run, say};

/// What `benches/packets/others.rs` loads.
const OBJECT: &str = "xdpfilt_alw_ip.o";

/// Returns the object of xdp-filter; if it cannot be had, says so and returns `None`.
pub(crate) fn xdp_filter(tools: &Path) -> Option<PathBuf> {
    let folder = tools.join("xdp-tools");
    let found = find(&folder).or_else(|| {
        fetch(&folder);
        find(&folder)
    });
    if found.is_none() {
        say("xdp-filter is not measured: the package xdp-tools is not available here");
    }
    found
}

fn find(folder: &Path) -> Option<PathBuf> {
    let library = fs::read_dir(folder.join("usr/lib")).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    library.map(|architecture| architecture.join("bpf").join(OBJECT)).find(|object| object.exists())
}

/// Downloads and unpacks the package; if that fails, its file is not found afterwards.
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
