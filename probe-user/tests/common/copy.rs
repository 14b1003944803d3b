//! A copy of the `probe` binary for tests that run it as another user.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// A copy of the binary that every user can reach, wherever the build folder is.
pub(crate) struct Copy(PathBuf);

impl Copy {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("probe-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a new folder");
        let copy = Self(folder);
        fs::set_permissions(&copy.0, fs::Permissions::from_mode(0o755)).expect("it is ours");
        // By a process of its own: while this one has it open for writing, a child of another test may have it too,
        // and then it can't be run ("text file busy").
        let status =
            Command::new("cp").arg(env!("CARGO_BIN_EXE_probe")).arg(copy.binary()).status().expect("cp is there");
        assert!(status.success(), "{status}");
        copy
    }

    /// Where it is.
    pub(crate) fn binary(&self) -> PathBuf {
        self.0.join("probe")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
