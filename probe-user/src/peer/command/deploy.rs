//! Copies this program to a far host that has none, through the same command, and leaves nothing there.
//!
//! The command runs `sh`, which reads its script from stdin: so nothing needs quoting, however many shells are on the
//! way. It is asked for its processor first; the script that follows is one line, and nothing more is written before it
//! answers: a shell may read ahead. It keeps the program open and removes its file before the agent starts, so that nothing is
//! left there, however the agent ends.

mod builds;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::{Peer, Silence, Trouble, peer_reader::PeerMessage};

/// The first word of every line that the script prints.
const WORD: &str = "PROBE_DEPLOY ";

/// The bytes of one write; each write may take [`STALL`].
const PIECE: usize = 256 << 10;

/// How long the connection may accept no byte.
const STALL: Duration = Duration::from_secs(30);

/// The program to copy.
struct Parcel {
    bytes: Vec<u8>,
    sha256: String,
}

/// Makes the far end run this program as its agent: its own copy if that is identical, else ours, else a static build beside it.
pub(super) fn take_over(peer: &mut Peer, until: Instant) -> Result<(), Trouble> {
    write(peer, QUESTION.as_bytes(), until)?;
    let answer = receive(peer, until)?;
    let Some(uname) = answer.strip_prefix("MACHINE").map(str::trim) else { return Err(refused(&answer)) };
    let uname = uname.to_owned();
    let choice = builds::for_machine(&peer.options.program, &uname)?;
    let mut complaint = String::new();
    for program in &choice.programs {
        match hand_over(peer, program)? {
            Outcome::Runs => return Ok(()),
            Outcome::DoesNotRun(why) => complaint = why,
        }
    }
    Err(choice.none_runs(&complaint))
}

/// What the script's first line answers decides which program is copied.
const QUESTION: &str = "echo PROBE_DEPLOY MACHINE \"$(uname -m)\"\n";

/// How it went with one program.
enum Outcome {
    Runs,
    /// The far host's words; its shell waits for another script.
    DoesNotRun(String),
}

fn hand_over(peer: &mut Peer, program: &Path) -> Result<Outcome, Trouble> {
    let parcel = Parcel::of(program)?;
    write(peer, parcel.script().as_bytes(), Instant::now() + STALL)?;
    match receive(peer, Instant::now() + STALL)?.as_str() {
        "HAVE" => return Ok(Outcome::Runs),
        "READY" => {}
        answer => return Err(refused(answer)),
    }
    for piece in parcel.bytes.chunks(PIECE) {
        write(peer, piece, Instant::now() + STALL)?;
    }
    let answer = receive(peer, Instant::now() + STALL)?;
    match answer.split_once(' ').unwrap_or((&answer, "")) {
        ("STARTED", _) => Ok(Outcome::Runs),
        ("NORUN", why) => Ok(Outcome::DoesNotRun(why.trim().to_owned())),
        _ => Err(refused(&answer)),
    }
}

impl Parcel {
    fn of(program: &Path) -> Result<Self, Trouble> {
        let bytes = fs::read(program).map_err(|error| Trouble::Deploy {
            why: format!("{} cannot be read: {error}", program.display()),
            fix: "check that /proc is mounted".to_owned(),
        })?;
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { bytes, sha256 })
    }

    /// Returns one line for a POSIX shell with the usual small programs (coreutils or busybox).
    fn script(&self) -> String {
        script(self.bytes.len(), &self.sha256)
    }
}

fn script(bytes: usize, sha256: &str) -> String {
    let steps = [
        // An identical program in PATH is used.
        "f=$(command -v probe) && s=$(sha256sum <\"$f\" 2>/dev/null) && [ \"${s%% *}\" = HASH ] \
         && { echo PROBE_DEPLOY HAVE; exec \"$f\" agent; }",
        "command -v sha256sum >/dev/null || { echo PROBE_DEPLOY NOSUM; exit 1; }",
        // A folder in which programs may be executed: /tmp is often mounted noexec.
        "d=; for t in \"${TMPDIR:-/tmp}\" /tmp /var/tmp /dev/shm /run \"${HOME:-/root}\"; do \
         d=$(mktemp -d \"$t/probe.XXXXXXXX\" 2>/dev/null) || { d=; continue; }; \
         printf '#!/bin/sh\\nexit 0\\n' >\"$d/try\" && chmod 700 \"$d/try\" && \"$d/try\" 2>/dev/null && break; \
         rm -rf \"$d\"; d=; done",
        "[ -n \"$d\" ] || { echo PROBE_DEPLOY NOPLACE; exit 1; }",
        "trap 'rm -rf \"$d\"' EXIT",
        "trap 'exit 1' HUP INT TERM",
        "echo PROBE_DEPLOY READY",
        "head -c BYTES >\"$d/probe\"",
        "s=$(sha256sum <\"$d/probe\")",
        "[ \"${s%% *}\" = HASH ] || { echo PROBE_DEPLOY DAMAGED; exit 1; }",
        "chmod 700 \"$d/probe\"",
        // Another C library, an older one, another processor: the shell then takes another script.
        "r=; \"$d/probe\" --version </dev/null >/dev/null 2>\"$d/why\" && r=1",
        "w=$(head -n 1 \"$d/why\")",
        // Its last part: a line that is too long is cut off on the way.
        "w=${w##*: }",
        "exec 9<\"$d/probe\"",
        "rm -rf \"$d\"",
        "trap - EXIT HUP INT TERM",
        "[ -n \"$r\" ] && { echo PROBE_DEPLOY STARTED; exec /proc/self/fd/9 agent; }",
        "exec 9<&-",
        "echo PROBE_DEPLOY NORUN \"$w\"",
    ];
    let mut line = steps.join("; ").replace("HASH", sha256).replace("BYTES", &bytes.to_string());
    line.push('\n');
    line
}

fn refused(answer: &str) -> Trouble {
    let (why, fix) = match answer {
        "NOSUM" => ("the far host has no sha256sum to check it with", "install coreutils or busybox there"),
        "NOPLACE" => (
            "the far host has no folder in which a new file may be executed",
            "remount one of /tmp, /var/tmp, /dev/shm or /run there with exec",
        ),
        "DAMAGED" => (
            "the program was damaged in transit",
            "the command must pass bytes through unchanged: no terminal (ssh -t), nothing else that reads stdin",
        ),
        _ => ("the far host's shell gave an unexpected answer", "the command must run `sh` on the far host"),
    };
    Trouble::Deploy { why: why.to_owned(), fix: fix.to_owned() }
}

fn write(peer: &mut Peer, bytes: &[u8], until: Instant) -> Result<(), Trouble> {
    match peer.shell.write(bytes, until, &peer.stop) {
        Ok(()) => Ok(()),
        Err(_) if peer.stop.asked() => Err(Trouble::Stopped),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Err(Trouble::Deploy {
            why: format!("the connection took no byte for {} s", STALL.as_secs()),
            fix: "check the connection to the far host".to_owned(),
        }),
        Err(_) => Err(peer.ended_early()),
    }
}

/// Returns the script's next message, without its first word; banners are skipped.
fn receive(peer: &mut Peer, until: Instant) -> Result<String, Trouble> {
    loop {
        match peer.receive(until) {
            Ok(PeerMessage::Banner(line)) => match line.find(WORD) {
                Some(at) => return Ok(line[at + WORD.len()..].to_owned()),
                None => peer.banner(&line),
            },
            Ok(PeerMessage::End) => return Err(peer.ended_early()),
            Ok(PeerMessage::Broken(error)) => return Err(peer.no_hello(Some(error))),
            Ok(_) => return Err(peer.no_hello(None)),
            Err(Silence::TooLong) => return Err(peer.no_hello(None)),
            Err(Silence::Stopped) => return Err(Trouble::Stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_one_line_with_size_and_hash() {
        let script = script(1234, "abcd");
        assert_eq!(script.matches('\n').count(), 1);
        assert!(script.contains("head -c 1234") && script.contains("= abcd ]") && !script.contains("HASH"));
        // What it prints is too short to be cut off like a long banner line.
        assert!(script.len() < 4096, "a terminal's line buffer would cut it off");
    }
}
