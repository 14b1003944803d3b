//! What runs inside the machine: the first process of a kernel under test, which mounts, loads modules and runs the plan.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        signal::{Signal, killpg},
        stat::{Mode, umask},
        wait::waitpid,
    },
    unistd::{Pid, sync},
};

use super::topic::{self, in_words};
use crate::shell::capture;

/// The path of this program in the image.
pub(crate) const INIT: &str = "/xtask";
/// The path of the plan, one step per line.
pub(crate) const PLAN: &str = "/plan";
/// The serial line for results: the kernel's messages go to another one, and never into the middle of a line.
const RESULTS: &str = "/dev/ttyS1";
/// The prefix of a line that this program wrote, and not one that it runs.
pub(crate) const MARK: &str = "@@ ";

/// The test program of probe-user that has a module for each topic.
pub(crate) const TESTS: &str = "suites";

/// Returns the path of the test program.
pub(crate) fn tests() -> String {
    format!("/{TESTS}")
}

/// Returns the full names of a topic's tests in the output of the test program's `--list`: other topics may have modules
/// with the same name.
pub(crate) fn of_topic<'a>(list: &'a str, topic: &str) -> impl Iterator<Item = &'a str> {
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    names.filter(move |name| name.strip_prefix(topic).is_some_and(|rest| rest.starts_with("::")))
}

/// Returns the path of a module.
pub(crate) fn module(name: &str) -> String {
    format!("/modules/{name}.ko")
}

/// The mounts of a system with systemd: file system, path, options.
const MOUNTS: [(&str, &str, &str); 8] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("devpts", "/dev/pts", ""),
    ("tmpfs", "/run", "mode=0755"),
    ("cgroup2", "/sys/fs/cgroup", ""),
    ("bpf", "/sys/fs/bpf", "mode=0700"),
    ("tracefs", "/sys/kernel/tracing", ""),
];

/// A part of cargo xtask kernels: does what the image's plan says, as the first process of a virtual machine.
#[derive(clap::Args)]
pub(crate) struct GuestOptions {}

/// Runs the plan. The first process leaves it to a child, reaps the children of others, and switches the machine off; the
/// child executes the plan.
///
/// # Errors
/// If this is no machine that [`super::image`] was made for.
pub(crate) fn run(_: &GuestOptions) -> Result<std::process::ExitCode> {
    // The first process has no /proc yet in which to find itself.
    let is_first = std::process::id() == 1;
    let is_inside = is_first || std::env::current_exe().is_ok_and(|program| program == Path::new(INIT));
    if !is_inside || !Path::new(PLAN).is_file() {
        bail!("only `cargo xtask kernels` runs this, inside a virtual machine");
    }
    if is_first {
        let result = first();
        sync();
        // Its messages go to the kernel's log; otherwise the kernel would report a panic instead.
        if let Err(error) = result {
            eprintln!("error: {error:#}");
        }
        reboot(RebootMode::RB_AUTOBOOT)?;
    }
    plan()?;
    Ok(std::process::ExitCode::SUCCESS)
}

fn first() -> Result<()> {
    umask(Mode::from_bits_truncate(0o022));
    for (kind, place, options) in MOUNTS {
        // Sysfs and cgroup2 contain these paths themselves; the others have to be made.
        let _ = fs::create_dir_all(place);
        mount(Some(kind), place, Some(kind), MsFlags::empty(), Some(options))
            .with_context(|| format!("cannot mount {place}"))?;
    }
    // Nothing is mounted there: the checkout may lie in it.
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777)).context("cannot open /tmp to all")?;
    // An emulated processor may be slow to receive what a test has sent in one burst.
    fs::write("/proc/sys/net/core/netdev_max_backlog", "10000").context("cannot lengthen the backlog")?;
    let line = || OpenOptions::new().read(true).write(true).open(RESULTS);
    let out = line().context("no second serial line")?;
    let mut worker = Command::new(INIT);
    worker.arg("inside").stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).current_dir("/root");
    worker.env_clear().envs([
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("TERM", "dumb"),
        ("NO_COLOR", "1"),
        ("RUST_BACKTRACE", "0"),
    ]);
    let worker = worker.spawn().context("cannot start the worker")?;
    let worker = Pid::from_raw(i32::try_from(worker.id())?);
    // It also reaps processes whose parents are gone: a test that waits for one to vanish must see it vanish.
    while waitpid(None, None)?.pid() != Some(worker) {}
    Ok(())
}

fn plan() -> Result<()> {
    report(&format!("up {}", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim()));
    let plan = fs::read_to_string(PLAN)?;
    for step in plan.lines() {
        let words: Vec<&str> = step.split_whitespace().collect();
        match words[..] {
            ["module", name] => {
                if let Err(error) = load(name) {
                    report(&format!("lacks {name}: {error:#}"));
                }
            }
            ["topic", name, seconds] => {
                let list = capture(Command::new(tests()).arg("--list"))?;
                let names: Vec<&str> = of_topic(&list, name).collect();
                report(&format!("begin {step}"));
                let begun = Instant::now();
                let hung = |test: &str| report(&format!("hung {test}"));
                let end = topic::run(&tests(), &names, Duration::from_secs(seconds.parse()?), &hung)?;
                report(&format!("end {} {end}", begun.elapsed().as_secs()));
            }
            ["run", seconds, program, ..] => {
                timed(step, Command::new(program).args(&words[3..]), seconds.parse()?)?;
            }
            _ => bail!("the plan has an unknown step: {step}"),
        }
    }
    report("done");
    Ok(())
}

fn load(name: &str) -> Result<()> {
    let file = File::open(module(name))?;
    // Some bring interfaces of their own, which tests don't expect.
    let parameters = match name {
        "dummy" => c"numdummies=0",
        "bonding" => c"max_bonds=0",
        "ifb" => c"numifbs=0",
        _ => c"",
    };
    finit_module(&file, parameters, ModuleInitFlags::empty()).context("the kernel refuses it")
}

/// Runs a command, and kills it with all its children if it takes too long.
fn timed(step: &str, command: &mut Command, seconds: u64) -> Result<()> {
    report(&format!("begin {step}"));
    let begun = Instant::now();
    let end = match command.process_group(0).spawn() {
        Ok(child) => in_words(wait(child, Duration::from_secs(seconds))?),
        Err(error) => format!("cannot start it: {error}"),
    };
    report(&format!("end {} {end}", begun.elapsed().as_secs()));
    Ok(())
}

/// Waits for the child; `None` if it had to be killed.
fn wait(mut child: Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            killpg(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGKILL)?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn report(line: &str) {
    // If this fails, nobody is left to report it to.
    let _ = writeln!(io::stdout(), "{MARK}{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_of_a_topic_are_not_those_of_modules_that_end_like_it() {
        let list =
            "filter::rules::a: test\nnetfilter::b: test\nkernel::filter::c: test\nfilter: test\nfilter::d: bench\n";
        assert!(of_topic(list, "filter").eq(["filter::rules::a"]));
        assert!(of_topic(list, "kernel").eq(["kernel::filter::c"]));
    }
}
