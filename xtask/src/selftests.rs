//! `cargo xtask selftests`: the kernel's own network selftests, with probe beside every ping of theirs.

mod judge;
pub(crate) mod shadow;
mod source;

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use self::judge::{PingJudgement, Score};
use crate::{
    build,
    shell::{is_root, repo, say},
};

/// Run the kernel's own network selftests with probe beside each ping, and count where the two differ.
///
/// Debian's package of the kernel's source is downloaded into target/selftests; nothing is installed. Each script runs in
/// namespaces of its own: network, mounts, and processes. Needs root.
#[derive(clap::Args)]
pub(crate) struct SelftestsOptions {
    /// Scripts to run, such as pmtu.sh, each with its arguments as one word [default: all that ping]
    #[arg(value_name = "SCRIPT")]
    scripts: Vec<String>,
    /// The series of the kernel whose selftests are run.
    #[arg(long, default_value = "6.1")]
    series: String,
    /// Compare this program with ping, and build none.
    #[arg(long, value_name = "FILE")]
    probe: Option<PathBuf>,
    /// Stop each script after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    limit: u64,
}

/// The scripts that ping and end by themselves, with the arguments that keep them to what pings, and the kind of device
/// that the whole script needs.
const SCRIPTS: &[(&str, Option<&str>)] = &[
    ("unicast_extensions.sh", None),
    ("icmp_redirect.sh", None),
    ("icmp.sh", None),
    ("route_localnet.sh", None),
    ("arp_ndisc_evict_nocarrier.sh", None),
    ("fib_nexthop_multiprefix.sh", None),
    ("fib_nexthop_nongw.sh", None),
    ("fib_nexthops.sh", None),
    ("fib_tests.sh", Some("dummy")),
    ("traceroute.sh", None),
    ("rtnetlink.sh", Some("dummy")),
    ("udpgro_fwd.sh", None),
    ("fcnal-test.sh -t ipv4_ping", None),
    ("fcnal-test.sh -t ipv6_ping", None),
    ("fcnal-test.sh -t use_cases", Some("vrf")),
    ("pmtu.sh", None),
    ("bareudp.sh", Some("bareudp")),
    ("ip6_gre_headroom.sh", Some("ip6gretap")),
    ("l2_tos_ttl_inherit.sh", Some("gretap")),
    ("l2tp.sh", Some("l2tp")),
    ("test_vxlan_under_vrf.sh", Some("vrf")),
    ("vrf-xfrm-tests.sh", Some("vrf")),
    ("vrf_route_leaking.sh", Some("vrf")),
    ("xfrm_policy.sh", None),
];

/// Fetches, runs and compares; a failing exit status if probe and ping differ anywhere.
///
/// # Errors
/// If this is not root, something can't be fetched, or probe does not build.
pub(crate) fn run(options: &SelftestsOptions) -> Result<ExitCode> {
    if !is_root() {
        bail!("the scripts make network namespaces — run this as root");
    }
    let folder = repo().join("target/selftests");
    let net = source::scripts(&folder, &options.series)?;
    let probe = options.probe.clone().map_or_else(build::probe, Ok)?;
    let probe = probe.canonicalize().with_context(|| format!("there is no {}", probe.display()))?;
    let stage = Stage::set(folder, net, probe, options.limit)?;
    let mut rows = Vec::new();
    for (script, device) in chosen(&options.scripts) {
        if let Some(kind) = device.filter(|kind| !makes(kind)) {
            say(&format!("{script} is left out: this kernel has no devices of the kind {kind}"));
            continue;
        }
        say(&format!("running {script}"));
        let ended = stage.play(&script)?;
        rows.push((script.clone(), ended, stage.score(&script)?));
    }
    let scores: Vec<Score> = rows.iter().map(|(_, _, score)| score.clone()).collect();
    println!("{}", judge::table(&rows));
    print!("{}", stage.differences()?);
    say(&format!("all notes: {}; each script's own words, with its pings: *.log beside it", stage.notes.display()));
    let sum = judge::total(&scores);
    Ok(if sum.pings() == sum.agreed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the scripts to run, with the kind of device that each needs.
fn chosen(named: &[String]) -> Vec<(String, Option<&'static str>)> {
    if named.is_empty() {
        return SCRIPTS.iter().map(|(script, device)| ((*script).to_owned(), *device)).collect();
    }
    named.iter().map(|script| (script.clone(), None)).collect()
}

/// Returns whether this kernel makes devices of a kind, tried in a network namespace that ends with the try.
fn makes(kind: &str) -> bool {
    let mut ip = Command::new("unshare");
    let words = ["--net", "ip", "link", "add", "name", "tried", "type", kind];
    let Ok(tried) = ip.args(words).stdin(Stdio::null()).output() else { return false };
    // A kind that wants more words is there all the same.
    tried.status.success() || !String::from_utf8_lossy(&tried.stderr).contains("Unknown device type")
}

/// Where scripts run: their folder, what stands in front of their pings, and where notes are kept.
struct Stage {
    folder: PathBuf,
    net: PathBuf,
    shadows: PathBuf,
    notes: PathBuf,
    probe: PathBuf,
    limit: Duration,
}

impl Stage {
    fn set(folder: PathBuf, net: PathBuf, probe: PathBuf, limit: u64) -> Result<Self> {
        let shadows = folder.join("bin");
        let this = env::current_exe().context("/proc does not show this program")?;
        if shadows.exists() {
            fs::remove_dir_all(&shadows).with_context(|| format!("cannot remove {}", shadows.display()))?;
        }
        fs::create_dir_all(&shadows).with_context(|| format!("cannot make {}", shadows.display()))?;
        for name in shadow::NAMES {
            symlink(&this, shadows.join(name))
                .with_context(|| format!("cannot make a link in {}", shadows.display()))?;
        }
        let notes = folder.join("notes.jsonl");
        File::create(&notes).with_context(|| format!("cannot make {}", notes.display()))?;
        Ok(Self { folder, net, shadows, notes, probe, limit: Duration::from_secs(limit) })
    }

    /// Runs one script, and returns how it ended.
    fn play(&self, script: &str) -> Result<String> {
        let log = self.folder.join(format!("{}.log", script.replace([' ', '/'], "_")));
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let both = file.try_clone().context("cannot share the script's log")?;
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [self.shadows.clone()].into_iter().chain(env::split_paths(&path)).chain([self.net.clone()]);
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        // Its namespaces get names that nobody else sees. What it kills by name is its own.
        command.args(["sh", "-c", INSIDE, "sh"]).arg(self.limit.as_secs().to_string());
        command.args(script.split_whitespace()).current_dir(&self.net);
        command.env("PATH", env::join_paths(folders).context("a folder has a colon in its name")?);
        command.env(shadow::PROBE, &self.probe).env(shadow::NOTES, &self.notes).env(shadow::LOG, &log);
        command.env(shadow::SCRIPT, script).env(shadow::SHADOWS, &self.shadows);
        command.env_remove("PROBE_OWN_NAMESPACE");
        let status = command.stdin(Stdio::null()).stdout(file).stderr(both).status().context("cannot start unshare")?;
        Ok(match status.code() {
            Some(0) => "passed".to_owned(),
            Some(4) => "skipped itself".to_owned(),
            Some(124 | 137) => "stopped by the limit".to_owned(),
            Some(code) => format!("exit status {code}"),
            None => "ended by a signal".to_owned(),
        })
    }

    /// Reads the notes so far.
    fn read(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(&self.notes).context("cannot read the notes")?;
        text.lines().map(|line| serde_json::from_str(line).context("a note is no JSON")).collect()
    }

    fn score(&self, script: &str) -> Result<Score> {
        let mut score = Score::default();
        for note in self.read()?.iter().filter(|note| note["script"] == script) {
            let name = note["judgement"].as_str().unwrap_or_default();
            score.add(PingJudgement::parse(name).with_context(|| format!("'{name}' is no judgement"))?);
        }
        Ok(score)
    }

    /// Lists where the two differ, and what probe said of what both lost, each once with its count.
    fn differences(&self) -> Result<String> {
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        for note in self.read()? {
            let judgement = note["judgement"].as_str().unwrap_or_default();
            let text = |name: &str| note[name].as_str().unwrap_or_default().to_owned();
            let (answered, sent) = (&note["answered"]["probe"], &note["document"]["sent"]);
            if !PingJudgement::parse(judgement).is_some_and(PingJudgement::agrees) {
                let line = format!("{judgement}: {} ping {}: {}", text("script"), text("ping"), text("sentence"));
                *lines.entry(line).or_default() += 1;
            } else if answered != sent || sent.is_null() {
                *lines.entry(format!("both lost: {}", text("sentence"))).or_default() += 1;
            }
        }
        Ok(lines.into_iter().map(|(line, count)| format!("{count:>4}× {line}\n")).collect())
    }
}

/// What is done in the namespaces before the script runs.
const INSIDE: &str = r#"
limit="$1"; shift
mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && mount -t sysfs sysfs /sys || exit 1
for each in bpf:/sys/fs/bpf tracefs:/sys/kernel/tracing cgroup2:/sys/fs/cgroup; do
    mount -t "${each%%:*}" "${each%%:*}" "${each#*:}" 2>/dev/null
done
ip link set lo up
script="$1"; shift
exec "$(PATH="${PATH#*:}" command -v timeout)" -k 5 "$limit" bash "./$script" "$@"
"#;
