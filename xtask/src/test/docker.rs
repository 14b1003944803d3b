//! Runs the namespace suites again where new namespaces start with the settings of Ubuntu with Docker.
//!
//! A new network namespace takes its settings from the machine's first one. To try other settings without touching the
//! machine's own, each test program runs in a temporary namespace that has them, while `net.core.devconf_inherit_init_net`
//! is 3: take them from whoever makes the namespace. A process that sees only our end puts the old value back, however we
//! end.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    fcntl::{Flock, FlockArg},
    sched::{CloneFlags, unshare},
};

use crate::shell::{self, say};

/// What runs again: of each suite that judges what the kernel does with packets in namespaces, the part that the settings of
/// the machine can change. All of them took ten minutes, and found no more.
pub(crate) const TOPICS: [&str; 6] =
    ["faults::", "filter::actions::", "lab::alone::", "lookups::", "observe::counts::", "trace::faults::"];

/// Where a new namespace takes its settings from: 0 the first one (IPv4 only), 1 the first one, 2 the kernel's defaults, 3
/// the namespace of its maker (`include/linux/netdevice.h`, `net_inherit_devconf`).
const INHERIT: &str = "/proc/sys/net/core/devconf_inherit_init_net";

/// Holds the old value of [`INHERIT`] while it is changed, and is locked for that time.
const NOTE: &str = "/run/probe-devconf-inherit";

/// The settings of Ubuntu 24.04 (`/etc/sysctl.d`), systemd (`50-default.conf`) and Docker with IPv6, in an order that works:
/// `ip_forward` changes `accept_redirects`.
const UBUNTU_WITH_DOCKER: [(&str, &str); 14] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "2"),
    ("net/ipv4/conf/default/rp_filter", "2"),
    ("net/ipv4/conf/default/accept_source_route", "0"),
    ("net/ipv4/conf/all/promote_secondaries", "1"),
    ("net/ipv4/conf/default/promote_secondaries", "1"),
    ("net/ipv4/conf/all/route_localnet", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/default/forwarding", "1"),
    ("net/ipv6/conf/all/use_tempaddr", "2"),
    ("net/ipv6/conf/default/use_tempaddr", "2"),
    ("net/bridge/bridge-nf-call-iptables", "1"),
];

/// A part of cargo xtask test: runs a test program where new namespaces start with the settings of Ubuntu with Docker.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// Returns the option for cargo that runs each test program through this one, as root through `sudo` if needed.
///
/// # Errors
/// If this program's own path cannot be found or is not UTF-8.
pub(crate) fn runner(host: &str, sudo: bool) -> Result<String> {
    let own = env::current_exe().context("cannot find xtask's own program")?;
    let own = own.to_str().context("the path of xtask's own program is not UTF-8")?;
    let become_root: &[&str] = if sudo { &["sudo", "-n", "-E"] } else { &[] };
    let words = [become_root, &[own, "under-docker"]].concat();
    Ok(format!("target.{host}.runner={}", serde_json::to_string(&words)?))
}

/// Returns why this machine cannot do it; `None` if it can.
pub(crate) fn obstacle() -> Option<String> {
    let hint = "run it in the machine's first network namespace, on Linux 5.14 or later";
    (!Path::new(INHERIT).exists()).then(|| format!("{INHERIT} is not there: {hint}"))
}

/// Runs the program; its exit status is ours.
///
/// # Errors
/// If the settings can't be made, or the program can't be started.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let (program, arguments) = options.command.split_first().context("no program")?;
    let guard = Guard::set("3")?;
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    shell::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    for (path, value) in UBUNTU_WITH_DOCKER {
        let file = Path::new("/proc/sys").join(path);
        // Bridges and IPv6 may be absent.
        if file.exists() {
            fs::write(&file, value).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    let status = Command::new(program).args(arguments).status();
    drop(guard);
    let status = status.with_context(|| format!("cannot start {}", program.to_string_lossy()))?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// [`INHERIT`] with another value; dropping it, or any end of this process, restores the old one.
struct Guard {
    restorer: Child,
    /// The restorer waits for the end of this pipe.
    end: Option<ChildStdin>,
    /// Unlocked once the restorer is done.
    _note: Flock<File>,
}

impl Guard {
    fn set(value: &str) -> Result<Self> {
        let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(NOTE);
        let note = open.with_context(|| format!("cannot open {NOTE}"))?;
        // The restorer has a copy, and with it the lock: the next process to lock it reads the machine's own value.
        let locked = Flock::lock(note, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
        let mut note = locked.with_context(|| format!("cannot lock {NOTE}"))?;
        let mut before = String::new();
        note.read_to_string(&mut before).with_context(|| format!("cannot read {NOTE}"))?;
        if before.trim().is_empty() {
            before = fs::read_to_string(INHERIT).with_context(|| format!("cannot read {INHERIT}"))?;
        }
        let before = before.trim().to_owned();
        if !["0", "1", "2", "3"].contains(&before.as_str()) {
            bail!("{INHERIT} has the unknown value '{before}'");
        }
        note.rewind()
            .and_then(|()| note.write_all(before.as_bytes()))
            .with_context(|| format!("cannot write {NOTE}"))?;
        let mut restorer = Command::new("sh")
            .args(["-c", &format!("cat >/dev/null; echo {before} >{INHERIT} && : >{NOTE}")])
            // Ctrl-C must not reach it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(note.try_clone().with_context(|| format!("cannot copy {NOTE}"))?)
            .spawn()
            .context("cannot start sh")?;
        let end = restorer.stdin.take();
        let guard = Self { restorer, end, _note: note };
        fs::write(INHERIT, value).with_context(|| format!("cannot write {value} to {INHERIT}"))?;
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end.take();
        match self.restorer.wait() {
            Ok(status) if status.success() => {}
            _ => say(&format!("{INHERIT} could not be put back: see {NOTE} for what it was")),
        }
    }
}
