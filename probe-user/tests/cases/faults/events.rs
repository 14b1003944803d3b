//! The kernel's own word on why packets were freed: `skb:kfree_skb` through an instance of tracefs, which goes with it.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Mounted in the mount namespace of the test's thread alone.
const TRACEFS: &str = "/sys/kernel/tracing";

/// The drop events of this machine since the last reading. Other tests' drops are among them: that an event is there
/// says something, that none is does not.
pub(crate) struct Events {
    folder: PathBuf,
}

impl Events {
    /// Starts recording; nothing where this kernel has no such events.
    pub(crate) fn record() -> Option<Self> {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .expect("private mounts");
        // Where it is mounted already, the kernel refuses it a second time.
        if !Path::new(TRACEFS).join("instances").exists() {
            mount(Some("tracefs"), TRACEFS, Some("tracefs"), MsFlags::empty(), None::<&str>).ok()?;
        }
        let folder = Path::new(TRACEFS).join(format!("instances/probe-faults-{}", nix::unistd::gettid()));
        fs::create_dir(&folder).ok()?;
        let events = Self { folder };
        let write = |file: &str, value: &str| fs::write(events.folder.join(file), value);
        let on = || -> io::Result<()> {
            write("buffer_size_kb", "2048")?;
            write("events/skb/kfree_skb/enable", "1")
        };
        on().ok()?;
        Some(events)
    }

    /// Reasons and functions of the events since the last call.
    pub(crate) fn take(&self) -> BTreeSet<(String, String)> {
        let trace = self.folder.join("trace");
        let text = fs::read_to_string(&trace).unwrap_or_default();
        // Truncating clears it.
        let _ = fs::write(&trace, "");
        text.lines().filter_map(event).collect()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = fs::write(self.folder.join("events/skb/kfree_skb/enable"), "0");
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Reason and function of a line such as `… location=icmp_rcv+0x12/0x345 reason: ICMP_CSUM`.
fn event(line: &str) -> Option<(String, String)> {
    let (_, rest) = line.split_once("location=")?;
    let (location, reason) = rest.split_once(" reason: ")?;
    let function = location.split('+').next().unwrap_or(location);
    // Compilers split functions: the part before the dot is the name in the source.
    let function = function.split('.').next().unwrap_or(function);
    Some((reason.trim().to_owned(), function.to_owned()))
}
