//! `cargo xtask kernels`: runs probe and its tests on other kernels, each in a virtual machine of its own.

mod cpio;
pub(crate) mod guest;
mod image;
mod machine;
mod modules;
mod packages;
mod results;
mod topic;

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use self::{
    machine::{Boot, Engine},
    packages::{Emulator, Kernel, Store},
    results::{GuestStep, Judgement, Results},
};
use crate::{
    compile::compile,
    setup::{self, NeededBy},
    shell::{capture, repo, say},
};

/// Boot other kernels in virtual machines, and run probe and its tests there as root.
///
/// Debian's kernels and QEMU are downloaded into .tools/kernels if they are missing; nothing is installed, and root is not
/// needed. With KVM a kernel takes a minute or two; if the processor has to be emulated, ten times that.
#[derive(clap::Args)]
pub(crate) struct KernelsOptions {
    /// Series such as 6.1: the newest kernel of it that is in .tools/kernels, else in Debian's archive.
    #[arg(default_values = SERIES, value_name = "SERIES")]
    series: Vec<String>,
    /// Run this topic of the tests only, such as netfilter, and no faults; may be given again.
    #[arg(long, value_name = "TOPIC")]
    test: Vec<String>,
    /// Try these cases of `probe lab faults` only, and run no tests; may be given again.
    #[arg(long, value_name = "CASE", allow_hyphen_values = true)]
    fault: Vec<String>,
}

/// The kernels of Debian 12 and 13; probe's floor is the first.
const SERIES: [&str; 2] = ["6.1", "6.12"];

/// The topics of the tests, modules of `probe-user/tests/suites`, that depend on the kernel; the fastest come first.
const TOPICS: [&str; 8] = ["doctor", "kernel", "netfilter", "path_watch", "trace", "observe", "filter", "lookups"];

/// One case or two of each layer and side: what a diagnosis must get right on every kernel.
const FAULTS: &str = "healthy-ttl healthy-udp-flood altered-id local-no-route local-nft-output local-nft-postrouting
    local-cgroup-egress local-tc-egress local-qdisc-full peer-nft-output network-drops-replies peer-xdp-native
    peer-tc-ingress peer-nft-input peer-nft-raw peer-nft-ingress peer-rp-filter peer-not-local peer-bad-icmp-checksum
    peer-echo-ignore-all local-nft-input";

/// The most time for a topic, and for all the faults: emulated on a busy machine, not typical.
const TOPIC: Duration = Duration::from_secs(600);
const SCORE: Duration = Duration::from_secs(1800);
const DOCTOR: Duration = Duration::from_secs(120);

/// Sets up, builds, boots each kernel and prints the results; a failing exit status if anything is wrong.
///
/// # Errors
/// If something is missing, does not build, or a kernel does not finish.
pub(crate) fn run(options: &KernelsOptions) -> Result<ExitCode> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the kernels are booted on x86-64 only — run this there");
    }
    setup::ensure(NeededBy::Tests)?;
    let mut store = Store::new();
    let emulator = store.emulator()?;
    let kernels = options.series.iter().map(|series| store.kernel(series)).collect::<Result<Vec<_>>>()?;
    let topics: Vec<&str> = match (options.test.as_slice(), options.fault.as_slice()) {
        ([], []) => TOPICS.to_vec(),
        (chosen, _) => chosen.iter().map(String::as_str).collect(),
    };
    let built = build(&topics)?;
    let plan = plan(options, &built);
    let mut engine = Engine::best();
    let mut bad = false;
    for kernel in &kernels {
        bad |= try_on(&emulator, &mut engine, kernel, &built, &plan)?;
    }
    println!(
        "{}",
        if bad { "some steps failed: see FAILED and WRONG above" } else { "everything passed on these kernels" }
    );
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What runs inside the machine.
struct Built {
    probe: PathBuf,
    /// The program with the tests of all topics.
    tests: PathBuf,
    topics: Vec<String>,
}

fn build(topics: &[&str]) -> Result<Built> {
    say(&format!("building probe and its tests for other kernels; kernel half: {}", setup::toolchain_in_words()?));
    // With a test, cargo also builds the program that it calls.
    let arguments = ["test", "--no-run", "--profile", "emulated", "--package", "probe-user", "--test", guest::TESTS];
    let made = compile(&arguments)?.executables;
    let find = |wanted: &str| {
        let found = made.iter().find(|(name, _)| name == wanted).map(|(_, program)| program.clone());
        found.with_context(|| format!("cargo built no program called {wanted}"))
    };
    let (probe, tests) = (find("probe")?, find(guest::TESTS)?);
    let list = capture(Command::new(&tests).arg("--list"))?;
    if let Some(topic) = topics.iter().find(|topic| guest::of_topic(&list, topic).next().is_none()) {
        bail!("no test has the topic {topic} — a topic is a module of probe-user/tests/suites, such as netfilter");
    }
    Ok(Built { probe, tests, topics: topics.iter().map(ToString::to_string).collect() })
}

/// Returns the steps in the format of [`guest`].
fn plan(options: &KernelsOptions, built: &Built) -> String {
    let probe = built.probe.display();
    let mut plan = format!("run {} {probe} doctor --format json\n", DOCTOR.as_secs());
    for topic in &built.topics {
        plan.push_str(&format!("topic {topic} {}\n", TOPIC.as_secs()));
    }
    let faults = match (options.fault.as_slice(), options.test.as_slice()) {
        ([], []) => FAULTS.split_whitespace().collect::<Vec<_>>().join(" "),
        (chosen, _) => chosen.join(" "),
    };
    if !faults.is_empty() {
        plan.push_str(&format!("run {} {probe} lab faults --format json --quiet {faults}\n", SCORE.as_secs()));
    }
    plan
}

/// Boots one kernel and prints the results; returns whether anything is wrong.
fn try_on(emulator: &Emulator, engine: &mut Engine, kernel: &Kernel, built: &Built, plan: &str) -> Result<bool> {
    let folder = repo().join("target/kernels");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = |extension: &str| folder.join(format!("{}.{extension}", kernel.release));
    let (image, log) = (file("cpio"), file("log"));
    let contents = image::Contents { probe: &built.probe, tests: &built.tests, plan };
    image::write(&image, &kernel.modules, &contents)?;
    say(&format!("booting Linux {} ({})", kernel.release, engine.name()));
    let boot = Boot { kernel, image: &image, log: &log, limit: limit(built) };
    let output = file("txt");
    let mut said = File::create(&output).with_context(|| format!("cannot write {}", output.display()))?;
    let (mut results, mut judgements) = (Results::default(), Vec::new());
    let ended = machine::run(emulator, engine, &boot, &mut |line| {
        // A full disk must not end the run: the important output is printed too.
        let _ = writeln!(said, "{line}");
        if let Some(step) = results.take(line) {
            let (name, judgement) = judge(step);
            say(&format!("{name}: {} ({} s)", judgement.lines.first().map_or("", String::as_str), step.seconds));
            judgements.push((name, judgement));
        }
    });
    // The image is as large as everything in it.
    fs::remove_file(&image).with_context(|| format!("cannot remove {}", image.display()))?;
    if !judgements.is_empty() {
        print(kernel, *engine, &results.lacking, &judgements, &output);
    }
    ended?;
    Ok(judgements.iter().any(|(_, judgement)| judgement.bad))
}

fn limit(built: &Built) -> Duration {
    let topics = u32::try_from(built.topics.len()).unwrap_or(u32::MAX);
    TOPIC.saturating_mul(topics) + SCORE + DOCTOR * 2
}

/// Returns a step's name for the output, and its result.
fn judge(step: &GuestStep) -> (String, Judgement) {
    let words: Vec<&str> = step.words.split_whitespace().collect();
    match words[..] {
        ["topic", name, ..] => (name.to_owned(), results::topic(step)),
        ["run", _, _, "doctor", ..] => ("probe doctor".to_owned(), results::doctor(step)),
        _ => ("probe lab faults".to_owned(), results::faults(step)),
    }
}

fn print(kernel: &Kernel, engine: Engine, lacking: &[String], judgements: &[(String, Judgement)], output: &Path) {
    println!("Linux {} ({})", kernel.release, engine.name());
    for (name, judgement) in judgements {
        for (index, line) in judgement.lines.iter().enumerate() {
            println!("  {:<17} {line}", if index == 0 { name } else { "" });
        }
    }
    for module in lacking {
        println!("  {:<17} {module}", "module refused");
    }
    println!("  {:<17} {}", "full output", output.display());
}
