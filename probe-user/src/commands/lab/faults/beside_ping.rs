//! The host's own `ping` in the place of probe: with the same flags, in the same broken lab.

use std::{io, net::IpAddr, time::Duration};

use probe_ebpf::Family;

use crate::{
    host::child,
    lab::{
        Netns,
        fault::{Pinged, Probe},
    },
};

/// How long a ping may take at most: a thousand packets, and their last answer.
const LIMIT: Duration = Duration::from_secs(30);

/// What `probe diagnose` has by default, and ping does not: how many, and how many seconds it waits for the last.
const COUNT: u16 = 10;
const WAIT: &str = "1";

/// Runs ping to `target` in `netns` with the flags that make packets like `probe`, and those of `more`, which are further flags of
/// `probe diagnose`.
///
/// # Errors
/// It is not installed, or cannot be started.
pub(super) fn ping(netns: &Netns, target: IpAddr, probe: &Probe, more: &str, interval: Duration) -> io::Result<Pinged> {
    let mut command = netns.command("ping");
    command.args(words(target, probe, more, interval)).env("LC_ALL", "C");
    let child::Finished { stdout, stderr, .. } = child::run(&mut command, b"", LIMIT)?;
    Ok(Pinged::parse(&stdout, &stderr))
}

/// Returns the arguments of ping.
fn words(target: IpAddr, probe: &Probe, more: &str, interval: Duration) -> Vec<String> {
    let family = if target.is_ipv4() { Family::V4 } else { Family::V6 };
    let pair = |flag: &str, value: Option<String>| value.map(|value| [flag.to_owned(), value]);
    let pairs = [
        pair("-c", Some(probe.count.unwrap_or(COUNT).to_string())),
        pair("-i", Some(probe.interval.unwrap_or(interval).as_secs_f64().to_string())),
        pair("-W", Some(WAIT.to_owned())),
        pair("-s", probe.size.map(|size| size.to_string())),
        pair("-t", probe.ttl.map(|ttl| ttl.to_string())),
        pair("-e", probe.id.map(|id| id.to_string())),
        pair("-I", probe.source(family).map(|source| source.to_string())),
        // `probe` would be --df, but pings before 2024 do not know it; the lab's hosts have learned no path MTU that `do` would heed.
        pair("-M", probe.dont_fragment.then(|| "do".to_owned())),
    ];
    // With ping, -S is the size of the send buffer.
    let more = more.split_whitespace().map(|word| if word == "-S" { "-I" } else { word }.to_owned());
    let words = pairs.into_iter().flatten().flatten().chain(more);
    words.chain(["-q".to_owned(), target.to_string()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{fault, plan::LabHost};

    fn words_of(name: &str) -> String {
        let case = fault::all().into_iter().find(|case| case.name == name).expect("it is in the catalogue");
        words(LabHost::B.address(case.family), &case.fault.probe, "", Duration::from_millis(10)).join(" ")
    }

    #[test]
    fn ping_gets_the_flags_that_mean_the_same() {
        let b = LabHost::B.address(Family::V4);
        assert_eq!(words_of("peer-nft-input"), format!("-c 10 -i 0.01 -W 1 -q {b}"));
        assert_eq!(words_of("local-above-mtu"), format!("-c 10 -i 0.01 -W 1 -s 1600 -M do -q {b}"));
        assert_eq!(words_of("local-source-not-owned"), format!("-c 10 -i 0.01 -W 1 -I 192.0.2.1 -q {b}"));
        let bound = words(b, &Probe::PLAIN, "-I eth1 -S 192.0.2.1", Duration::from_millis(10)).join(" ");
        assert!(bound.ends_with(&format!("-I eth1 -I 192.0.2.1 -q {b}")), "{bound}");
        assert_eq!(words_of("healthy-many"), format!("-c 1024 -i 0.0005 -W 1 -q {b}"));
    }
}
