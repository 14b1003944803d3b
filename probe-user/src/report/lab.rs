//! `probe.lab/1`: what `probe lab up` and `probe lab down` found and did.

use std::{
    io::{self, Write},
    net::IpAddr,
};

use serde::Serialize;

use super::{Document, Style, style::Tone};

/// The standing lab after a command.
#[derive(Debug, Serialize)]
pub struct LabState {
    /// What the command did.
    pub result: LabResult,
    /// The lab's hosts; none where it is down.
    pub hosts: Vec<LabHost>,
    /// Processes that still run in namespaces whose names are gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub still_running: Vec<LabProcess>,
}

/// What `up` or `down` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LabResult {
    /// The lab was made.
    Made,
    /// The rest of an earlier lab was removed, and the lab was made.
    Repaired,
    /// The lab was up already, and is as it was made.
    AlreadyUp,
    /// The lab was removed.
    Removed,
    /// There was no lab to remove.
    AlreadyDown,
}

/// A host of the lab.
#[derive(Debug, Serialize)]
pub struct LabHost {
    /// Its name.
    pub host: &'static str,
    /// Its network namespace, as `ip netns` shows it.
    pub namespace: &'static str,
    /// Its interfaces.
    pub interfaces: Vec<LabInterface>,
}

/// An interface of a host of the lab.
#[derive(Debug, Serialize)]
pub struct LabInterface {
    /// Its name.
    pub interface: &'static str,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A process that outlived the lab's names.
#[derive(Debug, Serialize)]
pub struct LabProcess {
    /// On which host it runs.
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
            LabResult::Made => "The lab is up.",
            LabResult::Repaired => "The lab is up; what was left of an earlier one is removed.",
            LabResult::AlreadyUp => "The lab was up already, and is as it was made.",
            LabResult::Removed => "The lab is down, and nothing of it is left.",
            LabResult::AlreadyDown => "The lab was not up; there is nothing to remove.",
        };
        let sentence = if self.still_running.is_empty() { sentence } else { "The lab is down." };
        writeln!(out, "{}", style.paint(Tone::Good, sentence))?;
        for process in &self.still_running {
            let LabProcess { host, pid, name } = process;
            writeln!(out, "Process {pid} ({name}) still runs on {host}; that host goes when it ends.")?;
        }
        if self.hosts.is_empty() {
            return Ok(());
        }
        self.write_map(out, style)
    }
}

impl LabState {
    fn write_map(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let wire = style.either("──────────", "----------");
        let (up, down) = (style.either("▸", ">"), style.either("◂", "<"));
        writeln!(
            out,
            "\n  {} eth0 {wire} a {} b {wire} eth0 {}\n",
            bold(style, "a"),
            bold(style, "fw"),
            bold(style, "b")
        )?;
        for host in &self.hosts {
            for (index, interface) in host.interfaces.iter().enumerate() {
                let name = if index == 0 { host.host } else { "" };
                let addresses: Vec<_> = interface.addresses.iter().map(ToString::to_string).collect();
                let namespace = if index == 0 { format!("namespace {}", host.namespace) } else { String::new() };
                let line = format!("  {name:3} {:5} {:28} {namespace}", interface.interface, addresses.join("  "));
                writeln!(out, "{}", line.trim_end())?;
            }
        }
        writeln!(
            out,
            "\n  fw lets a ping b (a {up} b); what comes back ({down}) passes by connection tracking alone."
        )?;
        writeln!(
            out,
            "  Try:  probe lab exec a -- ping -c 3 10.78.0.20\n        probe lab exec fw -- nft list ruleset\n        probe lab down"
        )
    }
}

fn bold(style: &Style, text: &str) -> String {
    style.paint(Tone::Strong, text)
}
