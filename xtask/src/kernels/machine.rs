//! A virtual machine: boots a kernel with an image, passes on its output, and never exceeds its time.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    guest::MARK,
    packages::{Emulator, Kernel},
};
use crate::{shell::say, toolchain::library_path};

/// How long a kernel may take until its first output: with KVM a second or two; emulated on a busy machine, a minute.
const FIRST_WORD: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(240)];

/// The clock of an emulated processor seems to jump; nothing inside needs mitigations; and tunnel modules must not create
/// interfaces of their own.
const COMMAND_LINE: &str =
    "console=ttyS0 panic=-1 tsc=reliable mitigations=off fb_tunnels=none rdinit=/xtask -- inside";

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// The processor, through /dev/kvm.
    Hardware,
    /// QEMU itself; ten times slower.
    Emulation,
}

impl Engine {
    /// Returns the faster one, if this user may use it.
    pub(crate) fn best() -> Self {
        let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm");
        if kvm.is_ok() { Self::Hardware } else { Self::Emulation }
    }

    /// Returns its name for the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hardware => "KVM",
            Self::Emulation => "emulated",
        }
    }

    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Hardware => ["-accel", "kvm", "-cpu", "host"],
            Self::Emulation => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }

    fn first_word(self) -> Duration {
        FIRST_WORD[usize::from(self == Self::Emulation)]
    }
}

/// One boot: what to boot, with which image, and where the kernel's log goes.
pub(crate) struct Boot<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) image: &'a Path,
    pub(crate) log: &'a Path,
    /// The most time after its first output.
    pub(crate) limit: Duration,
}

/// Boots and passes each line of the guest to `take`, until the machine switches itself off. If KVM does not work (say, in a
/// virtual machine that does not nest), `engine` becomes emulation.
///
/// # Errors
/// If QEMU can't be started, or the kernel dies, says nothing, or takes too long: then it is killed.
pub(crate) fn run(emulator: &Emulator, engine: &mut Engine, boot: &Boot<'_>, take: &mut dyn FnMut(&str)) -> Result<()> {
    loop {
        let mut machine = Machine::start(emulator, *engine, boot)?;
        match machine.first_word(engine.first_word()) {
            Ok(line) => {
                take(&line);
                return machine.rest(boot, take);
            }
            Err(why) if *engine == Engine::Hardware => {
                say(&format!(
                    "/dev/kvm exists but boots no kernel ({why}): emulating the processor, which is ten times slower"
                ));
                *engine = Engine::Emulation;
            }
            Err(why) => bail!("Linux {}: {why}{}", boot.kernel.release, last_words(boot.log)),
        }
    }
}

/// Killed when it is dropped.
struct Machine {
    child: Child,
    lines: Receiver<String>,
}

impl Machine {
    fn start(emulator: &Emulator, engine: Engine, boot: &Boot<'_>) -> Result<Self> {
        let mut command = Command::new(&emulator.program);
        for folder in &emulator.firmware {
            command.arg("-L").arg(folder);
        }
        if !emulator.libraries.is_empty() {
            command.env("LD_LIBRARY_PATH", library_path(&emulator.libraries));
        }
        command.args(engine.arguments()).args(["-smp", "2", "-m", "2048", "-nodefaults", "-display", "none"]);
        command.args(["-no-reboot", "-net", "none", "-monitor", "none"]);
        command.arg("-serial").arg(format!("file:{}", boot.log.display())).args(["-serial", "stdio"]);
        command.arg("-kernel").arg(&boot.kernel.image).arg("-initrd").arg(boot.image);
        command.args(["-append", COMMAND_LINE]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if engine == Engine::Hardware {
            // If KVM does not work, QEMU fails an assertion; the relevant part of that is reported.
            command.stderr(Stdio::null());
        }
        let mut child = command.spawn().with_context(|| format!("cannot start {}", emulator.program.display()))?;
        let output = child.stdout.take().context("QEMU has no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    fn first_word(&mut self, patience: Duration) -> Result<String, String> {
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(MARK) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Err(format!("no output within {} s", patience.as_secs())),
                Err(RecvTimeoutError::Disconnected) => return Err("it ended before any output".to_owned()),
            }
        }
    }

    fn rest(&mut self, boot: &Boot<'_>, take: &mut dyn FnMut(&str)) -> Result<()> {
        let deadline = Instant::now() + boot.limit;
        let release = &boot.kernel.release;
        let mut done = false;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    done |= line == format!("{MARK}done");
                    take(&line);
                }
                Err(RecvTimeoutError::Disconnected) if done => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("Linux {release} ended before its work was done{}", last_words(boot.log))
                }
                Err(RecvTimeoutError::Timeout) => {
                    let minutes = boot.limit.as_secs() / 60;
                    bail!("Linux {release} was not done after {minutes} minutes and was killed{}", last_words(boot.log))
                }
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may already have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the end of the kernel's log, for an error.
fn last_words(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(8)..].iter().map(|line| format!("\n  {line}"));
    last.chain([format!("\n  (all of it: {})", log.display())]).collect()
}
