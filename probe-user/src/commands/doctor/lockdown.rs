//! The kernel's lockdown mode, also where securityfs is not mounted.

use std::{fs, panic, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

const FOLDER: &str = "/sys/kernel/security";
const FILE: &str = "/sys/kernel/security/lockdown";

/// Reads securityfs' `lockdown`, such as `none [integrity] confidentiality`; `None` if it is not available.
pub(super) fn read() -> Option<String> {
    let text = fs::read_to_string(FILE).ok().or_else(read_from_own_mount)?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns the mode in force in such a text.
pub(super) fn mode(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(mode, _)| mode)
}

/// Reads it from a securityfs mounted only for this thread, in a mount namespace that ends with the thread.
fn read_from_own_mount() -> Option<String> {
    let on_own_thread = || {
        unshare(CloneFlags::CLONE_NEWNS).ok()?;
        let nothing = None::<&str>;
        // Else the mount would spread to the namespace that this one was copied from.
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).ok()?;
        let read_only = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("securityfs"), FOLDER, Some("securityfs"), read_only, nothing).ok()?;
        fs::read_to_string(FILE).ok()
    };
    thread::scope(|scope| scope.spawn(on_own_thread).join().unwrap_or_else(|cause| panic::resume_unwind(cause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_in_brackets_is_in_force() {
        assert_eq!(mode("none [integrity] confidentiality"), Some("integrity"));
        assert_eq!(mode("[none] integrity confidentiality\n"), Some("none"));
        assert_eq!(mode("none"), None);
    }
}
