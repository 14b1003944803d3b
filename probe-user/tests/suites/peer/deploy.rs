//! Taking the program to a far end that has none, over plain shells in place of ssh.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use probe_user::{
    error::Failure,
    peer::{Peer, PeerOptions, command::Deploy},
    stop::StopSignal,
};

use super::commands::{Relayed, request};
use crate::common::is_root;

/// A folder for the far end's files, which must be empty at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("probe-deploy-test-{}-{name}", process::id()));
        fs::create_dir_all(folder.join("tmp")).expect("a new folder");
        for path in [&folder, &folder.join("tmp")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("it is ours");
        }
        Self(folder)
    }

    fn tmp(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// A program that hands its words to a shell of the far host, as ssh does.
    fn ssh(&self) -> PathBuf {
        let path = self.0.join("ssh");
        fs::write(&path, "#!/bin/sh\nshift\necho 'Welcome to b'\nexec sh -c \"$*\"\n").expect("it is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }

    fn left(&self) -> usize {
        fs::read_dir(self.tmp()).expect("it is there").count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn deployed(command: String, program: &Path) -> Peer {
    let wish = PeerOptions {
        deploy: Deploy::Yes,
        program: program.to_owned(),
        hello: Duration::from_secs(60),
        ..PeerOptions::new(command)
    };
    Peer::start(wish, &StopSignal::default(), Relayed::default().relay()).expect("sh is there")
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_probe"))
}

#[test]
fn the_program_is_taken_along_run_and_gone_before_it_speaks() {
    let folder = Folder::new("run");
    let tmp = folder.tmp();
    // Through two shells, and with the folder's name in the environment of the far one.
    let mut peer = deployed(format!("{} b env TMPDIR={}", folder.ssh().display(), tmp.display()), binary());
    let hello = peer.greet().expect("an agent");
    assert_eq!(hello.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(folder.left(), 0, "the program's file is removed before it runs");
}

#[test]
fn the_same_program_is_not_copied() {
    let folder = Folder::new("have");
    let path = format!("{}:/usr/bin:/bin", binary().parent().expect("a folder").display());
    // A copy would need one of these folders.
    let mut peer = deployed(format!("env TMPDIR=/proc HOME=/proc PATH={path}"), binary());
    assert!(peer.greet().is_ok());
    assert_eq!(folder.left(), 0);
}

#[test]
fn an_agent_without_privilege_says_what_it_lacks() {
    if !is_root("an_agent_without_privilege_says_what_it_lacks") {
        return;
    }
    let folder = Folder::new("nobody");
    let tmp = folder.tmp();
    let nobody = format!("setpriv --reuid=65534 --regid=65534 --clear-groups env TMPDIR={}", tmp.display());
    let mut peer = deployed(nobody, binary());
    assert!(peer.greet().expect("an agent").offers.is_empty());
    let failure = Failure::from(peer.watch(request()).expect_err("nobody may not watch"));
    assert!(failure.error.contains("probe agent needs CAP_BPF"), "{failure}");
    assert!(failure.fix.contains("sudo"), "{failure}");
    assert_eq!(folder.left(), 0);
}

#[test]
fn a_damaged_copy_is_not_run_and_removed() {
    let folder = Folder::new("damaged");
    // The far shell's `head` loses what it is given: as a connection that changes bytes would.
    let bin = folder.0.join("bin");
    fs::create_dir(&bin).expect("a new folder");
    fs::write(bin.join("head"), "#!/bin/sh\n/usr/bin/head \"$@\" | tr '\\0' '\\1'\n").expect("it is ours");
    fs::set_permissions(bin.join("head"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut peer = deployed(format!("env TMPDIR={} PATH={path}", folder.tmp().display()), binary());
    let failure = Failure::from(peer.greet().map(drop).expect_err("not the same"));
    assert!(failure.error.ends_with("the program was damaged in transit"), "{failure}");
    drop(peer);
    assert_eq!(folder.left(), 0);
}

#[test]
fn a_far_end_that_goes_away_while_copying_leaves_nothing() {
    let folder = Folder::new("away");
    let bin = folder.0.join("bin");
    fs::create_dir(&bin).expect("a new folder");
    fs::write(bin.join("head"), "#!/bin/sh\necho 'connection lost' >&2\nkill -HUP $PPID\n").expect("it is ours");
    fs::set_permissions(bin.join("head"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut peer = deployed(format!("env TMPDIR={} PATH={path}", folder.tmp().display()), binary());
    let failure = Failure::from(peer.greet().map(drop).expect_err("it is gone"));
    assert!(failure.error.contains("connection lost"), "{failure}");
    drop(peer);
    assert_eq!(folder.left(), 0);
}

/// Puts a program into the far shell's `PATH` that says what this machine is.
fn uname(folder: &Folder, machine: &str) -> String {
    let bin = folder.0.join("bin");
    fs::create_dir_all(&bin).expect("a new folder");
    fs::write(bin.join("uname"), format!("#!/bin/sh\necho {machine}\n")).expect("it is ours");
    fs::set_permissions(bin.join("uname"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    format!("env TMPDIR={} PATH={}:/usr/bin:/bin", folder.tmp().display(), bin.display())
}

#[test]
fn another_machine_gets_the_build_for_it_that_lies_beside_this_program() {
    let folder = Folder::new("beside");
    let program = folder.0.join("probe");
    fs::write(&program, "a program of another machine").expect("it is ours");
    fs::copy(binary(), folder.0.join("probe-mips128")).expect("it is ours");
    let mut peer = deployed(uname(&folder, "mips128"), &program);
    assert!(peer.greet().is_ok());
    assert_eq!(folder.left(), 0);
}

#[test]
fn a_machine_without_a_build_is_named_with_what_to_make() {
    let folder = Folder::new("none");
    let mut peer = deployed(uname(&folder, "mips128"), binary());
    let failure = Failure::from(peer.greet().map(drop).expect_err("another machine"));
    assert!(failure.error.contains("the far host is mips128"), "{failure}");
    assert!(failure.fix.contains("cargo xtask dist --target mips128-unknown-linux-gnu"), "{failure}");
    drop(peer);
    assert_eq!(folder.left(), 0);
}

#[test]
fn a_program_that_does_not_run_there_is_followed_by_the_static_build() {
    let folder = Folder::new("norun");
    // As a program does that lacks its C library.
    let program = folder.0.join("probe");
    fs::write(&program, "#!/nowhere/ld-linux.so.2\n").expect("it is ours");
    let command = format!("env TMPDIR={}", folder.tmp().display());
    let mut alone = deployed(command.clone(), &program);
    let failure = Failure::from(alone.greet().map(drop).expect_err("it does not run"));
    assert!(failure.error.contains("the far host cannot run it: ") && failure.error.contains("not found"), "{failure}");
    drop(alone);
    fs::copy(binary(), folder.0.join(format!("probe-{}", std::env::consts::ARCH))).expect("it is ours");
    let mut peer = deployed(command, &program);
    assert!(peer.greet().is_ok());
    assert_eq!(folder.left(), 0);
}
