//! The program on a bare root, with nothing beside it but busybox: it runs, finds names, and says where pings stop.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use serde_json::Value;

use super::names;
use crate::shell::{is_root, run as run_command, say, which};

/// Unpacks the archive whose files are in the folder `top`, and runs the program of it.
///
/// # Errors
/// It does not do there what it must.
pub(super) fn run(archive: &Path, top: &str, scratch: &Path) -> Result<()> {
    let root = scratch.join("bare");
    let Some(busybox) = static_busybox(&root)? else { return Ok(()) };
    for folder in ["bin", "etc", "proc", "sys", "tmp", "run"] {
        fs::create_dir_all(root.join(folder))?;
    }
    run_command(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(scratch))?;
    fs::rename(scratch.join(top).join("probe"), root.join("bin/probe"))?;
    fs::copy(&busybox, root.join("bin/busybox"))?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost by.file\n")?;
    fs::write(root.join("etc/resolv.conf"), "nameserver 127.0.0.1\n")?;
    // A line that makes a dynamic program load libraries, which a bare root lacks.
    fs::write(
        root.join("etc/nsswitch.conf"),
        "hosts: mymachines resolve [!UNAVAIL=return] files dns\npasswd: systemd files\n",
    )?;
    // The namespaces end with the thread.
    thread::scope(|scope| scope.spawn(|| inside(&root)).join()).unwrap_or_else(|cause| std::panic::resume_unwind(cause))
}

fn static_busybox(root: &Path) -> Result<Option<PathBuf>> {
    let why = match which("busybox") {
        _ if !is_root() => "only root can",
        Some(busybox) if !root.exists() && crate::dist::elf::is_static(&fs::read(&busybox)?) => {
            return Ok(Some(busybox));
        }
        _ => "there is no static busybox (apt-get install busybox-static)",
    };
    say(&format!("NOT RUN on a bare root: {why}"));
    Ok(None)
}

fn inside(root: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).context("cannot make namespaces")?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("cannot make mounts private")?;
    for (kind, place) in [("proc", "proc"), ("sysfs", "sys")] {
        mount(Some(kind), &root.join(place), Some(kind), MsFlags::empty(), none)
            .with_context(|| format!("cannot mount {kind}"))?;
    }
    ok(root, &["/bin/busybox", "ip", "link", "set", "lo", "up"])?;
    names::serve().context("cannot answer for names")?;

    let version = ok(root, &["/bin/probe", "--version"])?;
    ensure!(version.starts_with(&format!("probe {}", env!("CARGO_PKG_VERSION"))), "it says it is {version}");
    say(&format!("on a bare root: {} starts in {:.1} ms", version.trim(), start_up(root)?.as_secs_f64() * 1e3));
    let doctor = in_bare_root(root, &["/bin/probe", "doctor", "--format", "json"])?;
    let facts: Value = serde_json::from_slice(&doctor.stdout).context("its doctor prints no JSON")?;
    ensure!(
        facts["schema"].as_str().is_some_and(|name| name.starts_with("probe.doctor/")),
        "its doctor prints {facts}"
    );
    for name in ["127.0.0.1", "by.file", names::NAME] {
        let text = ok(root, &["/bin/probe", "diagnose", name, "-c", "3", "--format", "json"])?;
        let report: Value = serde_json::from_str(&text).context("it prints no JSON")?;
        ensure!(report["schema"].as_str().is_some_and(|name| name.starts_with("probe.diagnosis/")), "it prints {text}");
    }
    let unknown = in_bare_root(root, &["/bin/probe", "diagnose", "nobody.probe.test", "-c", "1"])?;
    let complaint = String::from_utf8_lossy(&unknown.stderr).into_owned();
    ensure!(
        !unknown.status.success() && complaint.contains("nobody.probe.test"),
        "of an unknown name it says {complaint}"
    );
    say("on a bare root: doctor, and a diagnosis by address, by /etc/hosts and by DNS");
    Ok(())
}

/// Returns the median time of ten starts.
fn start_up(root: &Path) -> Result<Duration> {
    let once = || -> Result<Duration> {
        let began = Instant::now();
        ok(root, &["/bin/probe", "--version"])?;
        Ok(began.elapsed())
    };
    let mut times = (0..11).map(|_| once()).collect::<Result<Vec<_>>>()?;
    times.sort();
    Ok(times[5])
}

fn in_bare_root(root: &Path, words: &[&str]) -> Result<Output> {
    let chroot = which("chroot").context("there is no chroot")?;
    let mut command = Command::new(chroot);
    command.arg(root).args(words).env_clear().env("PATH", "/bin").env("TERM", "dumb");
    command.output().context("cannot start chroot")
}

fn ok(root: &Path, words: &[&str]) -> Result<String> {
    let output = in_bare_root(root, words)?;
    if !output.status.success() {
        bail!("`{}` failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
