//! `probe.doctor/1`: what works on this machine, what does not, and how to fix it.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Document, Style, style::Tone};

/// The report of `probe doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Checkup {
    /// The kernel's release.
    pub kernel: String,
    /// The user that probe ran as.
    pub user: String,
    /// How many checks failed.
    pub broken: usize,
    /// How many hops are blind.
    pub blind: usize,
    /// How many checks gave a warning.
    pub warnings: usize,
    /// The checks, in the order of [`CheckGroup`].
    pub checks: Vec<Check>,
    /// Whether each hop can be watched, in path order.
    pub hops: Vec<HopCheck>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Check {
    /// Its name, the same on every machine; interfaces have checks of their own, named after them.
    pub name: String,
    /// Whether there is no problem; false for a failure or a warning.
    pub ok: bool,
    /// What was found, as a clause.
    pub detail: String,
    /// How to fix it: a command or a clause; empty if no fix is needed.
    pub fix: String,
    /// The result in more detail than `ok`.
    pub state: CheckStatus,
    /// The group it belongs to.
    pub group: CheckGroup,
    /// What `detail` says in numbers and settings, by name; names that end in `_bytes` are bytes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<&'static str, Value>,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// As probe needs it.
    Good,
    /// Probe works, but this may surprise.
    Warning,
    /// Something does not work, or a hop is blind.
    Broken,
    /// It could not be found out; there is no sign of a problem.
    Unknown,
}

/// The group of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckGroup {
    /// What the kernel can do.
    Kernel,
    /// What this user may do.
    Privileges,
    /// File systems, tools, and what probe left on them.
    System,
    /// How this host treats ping.
    Ping,
    /// Network interfaces.
    Interfaces,
}

/// Whether a hop can be watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HopCheck {
    /// Its name.
    pub hop: &'static str,
    /// Whether it can be attached.
    pub available: bool,
    /// How it is attached, or why it is not.
    pub why: String,
}

impl Check {
    /// Creates a check that passed.
    pub fn good(group: CheckGroup, name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(group, name, CheckStatus::Good, detail, "")
    }

    /// Creates a check whose result could not be found out.
    pub fn unknown(group: CheckGroup, name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(group, name, CheckStatus::Unknown, detail, "")
    }

    /// Creates a check with its state, and its fix if it has one.
    pub fn new(
        group: CheckGroup,
        name: impl Into<String>,
        state: CheckStatus,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let ok = matches!(state, CheckStatus::Good | CheckStatus::Unknown);
        Self { name: name.into(), ok, detail: detail.into(), fix: fix.into(), state, group, values: BTreeMap::new() }
    }

    /// Adds what `detail` says as a value for programs.
    #[must_use]
    pub fn value(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.values.insert(name, value.into());
        self
    }
}

impl Checkup {
    /// Builds the report on these checks.
    pub fn new(kernel: String, user: String, mut checks: Vec<Check>, hops: Vec<HopCheck>) -> Self {
        checks.sort_by_key(|check| check.group);
        let count = |state| checks.iter().filter(|check| check.state == state).count();
        let blind = hops.iter().filter(|hop| !hop.available).count();
        Self {
            kernel,
            user,
            broken: count(CheckStatus::Broken),
            blind,
            warnings: count(CheckStatus::Warning),
            checks,
            hops,
        }
    }

    /// Returns whether everything that probe needs works.
    pub fn works(&self) -> bool {
        self.broken == 0 && self.blind == 0
    }

    fn headline(&self, style: &Style) -> String {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let warnings = format!("; {} warning{}", self.warnings, plural(self.warnings));
        let warnings = if self.warnings > 0 { warnings.as_str() } else { "" };
        let failed = format!("{} check{} failed", self.broken, plural(self.broken));
        let verb = if self.blind == 1 { "is" } else { "are" };
        let blind = format!("{} of {} hops {verb} blind", self.blind, self.hops.len());
        let (state, sentence) = match (self.broken, self.blind) {
            (0, 0) => (CheckStatus::Good, "Everything that probe needs works here".to_owned()),
            (_, 0) => (CheckStatus::Broken, failed),
            (0, _) => (CheckStatus::Broken, blind),
            _ => (CheckStatus::Broken, format!("{failed}, and {blind}")),
        };
        format!("{} {}", state.mark(style), style.paint(Tone::Strong, &format!("{sentence}{warnings}.")))
    }
}

impl CheckStatus {
    fn mark(self, style: &Style) -> String {
        let (tone, mark) = match self {
            Self::Good => (Tone::Good, style.either("✓", "+")),
            Self::Warning => (Tone::Warn, "!"),
            Self::Broken => (Tone::Bad, style.either("✗", "x")),
            Self::Unknown => (Tone::Dim, "?"),
        };
        style.paint(tone, mark)
    }
}

impl CheckGroup {
    fn title(self) -> &'static str {
        match self {
            Self::Kernel => "Kernel",
            Self::Privileges => "Privileges",
            Self::System => "System",
            Self::Ping => "How this host treats ping",
            Self::Interfaces => "Interfaces",
        }
    }
}

impl Document for Checkup {
    const SCHEMA: &'static str = "probe.doctor/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        writeln!(out, "{}", self.headline(style))?;
        writeln!(out, "  {}", style.paint(Tone::Dim, &format!("Linux {}, as {}", self.kernel, self.user)))?;
        for group in self.checks.chunk_by(|one, other| one.group == other.group) {
            let title = group.first().map_or("", |check| check.group.title());
            writeln!(out, "\n{}", style.paint(Tone::Strong, title))?;
            write_group(out, group, style)?;
        }
        writeln!(out, "\n{}", style.paint(Tone::Strong, "Hops, in path order"))?;
        let width = self.hops.iter().map(|hop| hop.hop.len()).max().unwrap_or(0);
        for hop in &self.hops {
            let state = if hop.available { CheckStatus::Good } else { CheckStatus::Broken };
            write_line(out, state, hop.hop, width, &hop.why, style)?;
        }
        Ok(())
    }
}

/// Above this number, interfaces without a problem are summed up in one line.
const QUIET_INTERFACES: usize = 12;

fn write_group(out: &mut dyn Write, checks: &[Check], style: &Style) -> io::Result<()> {
    let interface = checks.first().is_some_and(|check| check.group == CheckGroup::Interfaces);
    let quiet = checks.iter().filter(|check| check.state == CheckStatus::Good).count();
    let folded = interface && quiet > QUIET_INTERFACES;
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0).min(24);
    for check in checks.iter().filter(|check| !folded || check.state != CheckStatus::Good) {
        write_line(out, check.state, &check.name, width, &check.detail, style)?;
        if !check.fix.is_empty() {
            // Never wrapped: it is there to be pasted.
            writeln!(out, "      {} {}", style.paint(Tone::Dim, "fix:"), style.paint(Tone::Strong, &check.fix))?;
        }
    }
    if folded {
        let text = "no problems (probe doctor -I NAME shows details)";
        write_line(out, CheckStatus::Good, &format!("{quiet} interfaces"), width, text, style)?;
    }
    Ok(())
}

/// Writes a mark, a name, and a text that is wrapped beside the name.
fn write_line(
    out: &mut dyn Write,
    state: CheckStatus,
    name: &str,
    width: usize,
    text: &str,
    style: &Style,
) -> io::Result<()> {
    let indent = width + 6;
    for (index, line) in wrap(text, style.width.saturating_sub(indent).max(30)).iter().enumerate() {
        if index == 0 {
            writeln!(out, "  {} {name:<width$}  {line}", state.mark(style))?;
        } else {
            writeln!(out, "{:indent$}{line}", "")?;
        }
    }
    Ok(())
}

/// Wraps `text` at words to lines of at most `width` characters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{self, Format};

    fn checkup() -> Checkup {
        let checks = vec![
            Check::good(CheckGroup::Interfaces, "eth0", "up"),
            Check::new(CheckGroup::Kernel, "jit", CheckStatus::Warning, "off", "sysctl -w net.core.bpf_jit_enable=1"),
            Check::unknown(CheckGroup::Kernel, "lockdown", "not told"),
            Check::new(
                CheckGroup::Privileges,
                "send",
                CheckStatus::Broken,
                "CAP_NET_RAW is missing",
                "sudo probe send …",
            ),
        ];
        let hops = vec![HopCheck { hop: "tc_out", available: false, why: "not privileged".to_owned() }];
        Checkup::new("6.12.1".to_owned(), "nobody".to_owned(), checks, hops)
    }

    fn text(checkup: &Checkup, style: &Style) -> String {
        let mut out = Vec::new();
        report::write(&mut out, checkup, Format::Text, style).expect("written");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn people_read_the_sum_first_and_each_fix_beneath_its_line() {
        let expected = "\
x 1 check failed, and 1 of 1 hops is blind; 1 warning.
  Linux 6.12.1, as nobody

Kernel
  ! jit       off
      fix: sysctl -w net.core.bpf_jit_enable=1
  ? lockdown  not told

Privileges
  x send  CAP_NET_RAW is missing
      fix: sudo probe send …

Interfaces
  + eth0  up

Hops, in path order
  x tc_out  not privileged
";
        assert_eq!(text(&checkup(), &Style::plain()), expected);
    }

    #[test]
    fn machines_read_the_documented_fields() {
        let mut out = Vec::new();
        report::write(&mut out, &checkup(), Format::Json, &Style::plain()).expect("written");
        let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(json["schema"], "probe.doctor/1");
        assert_eq!(json["checks"][0]["name"], "jit");
        assert_eq!(json["checks"][0]["ok"], false);
        assert_eq!(json["checks"][1]["state"], "unknown");
        assert_eq!(json["checks"][1]["ok"], true);
        assert_eq!(json["hops"][0]["hop"], "tc_out");
        assert_eq!(json["hops"][0]["available"], false);
        assert_eq!(json["broken"], 1);
        assert_eq!(json["blind"], 1);
    }

    #[test]
    fn hundreds_of_interfaces_with_nothing_to_say_are_one_line() {
        let mut checks: Vec<Check> =
            (0..300).map(|number| Check::good(CheckGroup::Interfaces, format!("veth{number}"), "up")).collect();
        checks.push(Check::new(CheckGroup::Interfaces, "eth0", CheckStatus::Broken, "taken", "free it"));
        let text = text(&Checkup::new(String::new(), String::new(), checks, Vec::new()), &Style::plain());
        assert!(text.contains("300 interfaces") && text.contains("x eth0"), "{text}");
        assert!(text.lines().count() < 12, "{text}");
    }

    #[test]
    fn long_details_are_wrapped_beside_their_name() {
        let detail = "word ".repeat(40);
        let checks = vec![Check::good(CheckGroup::Kernel, "release", detail)];
        let style = Style { width: 60, ..Style::plain() };
        let text = text(&Checkup::new(String::new(), String::new(), checks, Vec::new()), &style);
        assert!(text.lines().all(|line| line.len() <= 60), "{text}");
        assert!(text.contains("\n             word"), "{text}");
    }
}
