//! `probe.lab/1`: what `probe lab up` and `probe lab down` found and did.

use std::{
    io::{self, Write},
    net::IpAddr,
};

use schemars::JsonSchema;
use serde::Serialize;

use super::{Document, Style, style::Tone};

/// The lab after a command.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LabState {
    /// What the command did.
    pub result: LabResult,
    /// The lab's hosts; absent if it is down.
    pub hosts: Vec<HostReport>,
    /// Processes that still run in namespaces whose names are gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub still_running: Vec<LabProcess>,
}

/// What `up` or `down` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabResult {
    /// The lab was set up.
    Made,
    /// The rest of an earlier lab was removed, and the lab was set up.
    Repaired,
    /// The lab was running already, and is unchanged.
    AlreadyUp,
    /// The lab was removed.
    Removed,
    /// There was no lab to remove.
    AlreadyDown,
}

/// A host of the lab.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HostReport {
    /// Its name.
    pub host: &'static str,
    /// Its network namespace, as `ip netns` shows it.
    pub namespace: &'static str,
    /// Its interfaces.
    pub interfaces: Vec<LabInterface>,
}

/// An interface of a host of the lab.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LabInterface {
    /// Its name.
    pub interface: &'static str,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A process that outlived the lab's names.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LabProcess {
    /// The host on which it runs.
    pub host: &'static str,
    /// Its process id.
    pub pid: u32,
    /// Its command's name.
    pub name: String,
}

impl Document for LabState {
    const SCHEMA: &'static str = "probe.lab/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let sentence = match self.result {
            LabResult::Made => "The lab is running.",
            LabResult::Repaired => "The lab is running; leftovers of an earlier one were removed.",
            LabResult::AlreadyUp => "The lab was running already, and is unchanged.",
            LabResult::Removed => "The lab is removed; nothing of it is left.",
            LabResult::AlreadyDown => "The lab was not running; there is nothing to remove.",
        };
        let sentence = if self.still_running.is_empty() { sentence } else { "The lab is removed." };
        writeln!(out, "{}", style.paint(Tone::Good, sentence))?;
        for process in &self.still_running {
            let LabProcess { host, pid, name } = process;
            writeln!(out, "Process {pid} ({name}) still runs on {host}; that host disappears when it ends.")?;
        }
        if self.hosts.is_empty() {
            return Ok(());
        }
        self.write_map(out, style)
    }
}

impl LabState {
    fn write_map(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let wire = style.paint(Tone::Dim, style.either("──────────", "----------"));
        let [a, fw, b] = ["a", "fw", "b"].map(|host| style.paint(Tone::Strong, host));
        writeln!(out, "\n  {a} eth0 {wire} a {fw} b {wire} eth0 {b}\n")?;
        for host in &self.hosts {
            for (index, interface) in host.interfaces.iter().enumerate() {
                let (name, namespace) = if index == 0 { (host.host, host.namespace) } else { ("", "") };
                let addresses: String =
                    interface.addresses.iter().map(|address| format!("{:17}", address.to_string())).collect();
                let line = format!("  {name:3} {:5} {addresses}{namespace}", interface.interface);
                writeln!(out, "{}", line.trim_end())?;
            }
        }
        writeln!(out, "\n  a may ping b; replies pass fw only by connection tracking.\n")?;
        for (word, command) in ["Try:", "", ""].into_iter().zip(self.suggestions()) {
            writeln!(out, "  {word:5}{command}")?;
        }
        Ok(())
    }

    /// Suggests three commands to type next.
    fn suggestions(&self) -> Vec<String> {
        let far = self.hosts.last().and_then(|host| host.interfaces.first()).and_then(|nic| nic.addresses.first());
        let ping = far.map(|address| format!("probe lab exec a -- ping -c 3 {address}"));
        ping.into_iter().chain(["probe lab exec fw -- nft list ruleset".into(), "probe lab down".into()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{self, Format};

    fn text(document: &LabState) -> String {
        let mut out = Vec::new();
        report::write(&mut out, document, Format::Text, &Style::plain()).expect("memory");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_lab_that_is_up_is_shown_with_its_addresses_and_what_to_try() {
        let interface = |interface, addresses: [&str; 2]| LabInterface {
            interface,
            addresses: addresses.map(|address| address.parse().expect("an address")).into(),
        };
        let host = |host, namespace, interfaces| HostReport { host, namespace, interfaces };
        let document = LabState {
            result: LabResult::Made,
            hosts: vec![
                host("a", "probe-a", vec![interface("eth0", ["10.77.0.10", "fd77:0:0:a::10"])]),
                host(
                    "fw",
                    "probe-fw",
                    vec![
                        interface("a", ["10.77.0.1", "fd77:0:0:a::1"]),
                        interface("b", ["10.78.0.1", "fd77:0:0:b::1"]),
                    ],
                ),
            ],
            still_running: Vec::new(),
        };
        let expected = "\
The lab is running.

  a eth0 ---------- a fw b ---------- eth0 b

  a   eth0  10.77.0.10       fd77:0:0:a::10   probe-a
  fw  a     10.77.0.1        fd77:0:0:a::1    probe-fw
      b     10.78.0.1        fd77:0:0:b::1

  a may ping b; replies pass fw only by connection tracking.

  Try: probe lab exec a -- ping -c 3 10.77.0.1
       probe lab exec fw -- nft list ruleset
       probe lab down
";
        assert_eq!(text(&document), expected);
    }

    #[test]
    fn what_still_runs_is_named() {
        let still_running = vec![LabProcess { host: "b", pid: 7, name: "sleep".into() }];
        let shown = text(&LabState { result: LabResult::Removed, hosts: Vec::new(), still_running });
        assert_eq!(
            shown,
            "The lab is removed.\nProcess 7 (sleep) still runs on b; that host disappears when it ends.\n"
        );
    }
}
