//! What was sent besides the probes, with one thing changed, and the result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Packets equal to the probes but for one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlRun {
    /// What was changed.
    #[serde(flatten)]
    pub kind: ControlKind,
    /// How many were sent.
    pub sent: usize,
    /// How many were answered.
    pub answered: usize,
    /// What became of packets that were not changed, before and after these; none: that was not looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged: Option<UnchangedRuns>,
}

/// What became of packets that were not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnchangedRuns {
    /// How many were sent before, the run's own included.
    pub before: usize,
    /// How many of those were answered.
    pub before_answered: usize,
    /// How many were sent after the changed ones.
    pub after: usize,
    /// How many of those were answered.
    pub after_answered: usize,
}

/// The effort of looking for a change that makes packets pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VariedRun {
    /// What was changed, one after the other, as clauses; even if that made no difference.
    pub tried: Vec<String>,
    /// What was asked for but could not be tried, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untried: Vec<String>,
    /// How many packets were sent in all.
    pub packets: usize,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether the user asked for it (`--vary`).
    pub asked: bool,
    /// Whether packets that were not changed were answered by now.
    pub over: bool,
}

/// A field of a packet, or what else tells otherwise equal packets apart; a smaller change stands before a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum VariedField {
    /// The echo id
    Id,
    /// The sequence numbers
    Seq,
    /// What the payload holds
    Payload,
    /// The length of the payload
    Size,
    /// The "don't fragment" bit
    Df,
    /// The DSCP value
    Dscp,
    /// The TTL or hop limit
    Ttl,
    /// The ICMP code
    Code,
    /// The firewall mark
    Mark,
    /// The source address
    Source,
    /// The interface
    Interface,
    /// The kind of socket: ping, raw, packet
    Socket,
    /// The time between two packets
    Pace,
    /// The direction: sent by the far end (with --peer)
    Direction,
    /// Who sends: probe itself in place of whom --as names
    #[value(skip)]
    Sender,
}

/// What a control changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "control", rename_all = "snake_case")]
pub enum ControlKind {
    /// The time between two packets.
    Pace {
        /// That time in milliseconds.
        interval_ms: u64,
    },
    /// The length of the packets.
    Size {
        /// The most bytes of payload that were answered.
        passes: u16,
        /// The fewest that were not.
        fails: u16,
    },
    /// One field.
    Field {
        /// Which.
        field: VariedField,
        /// What was changed, as a clause: `with id 5 in place of 77`.
        change: String,
        /// Its value in the run's packets.
        from: String,
        /// Its value in these.
        to: String,
    },
}

impl ControlRun {
    /// Returns whether every packet was answered.
    pub fn passed(&self) -> bool {
        self.sent > 0 && self.answered == self.sent
    }

    /// Returns the longest packet that was answered and the shortest that was not, if sizes were tried: in bytes, with
    /// the headers of IP and ICMP, without options.
    pub fn packet_sizes(&self, v6: bool) -> Option<(u32, u32)> {
        let ControlKind::Size { passes, fails } = self.kind else { return None };
        let headers = if v6 { 48 } else { 28 };
        // The longest payload and the headers together exceed 16 bits.
        Some((u32::from(passes) + headers, u32::from(fails) + headers))
    }

    /// Describes the result, as a clause.
    pub fn text(&self) -> String {
        match &self.kind {
            ControlKind::Field { change, .. } => {
                let unchanged = self.unchanged.map(|runs| {
                    let UnchangedRuns { before, before_answered, after, after_answered } = runs;
                    format!("; unchanged {before_answered} of {before} before and {after_answered} of {after} after")
                });
                let unchanged = unchanged.unwrap_or_default();
                format!("control: {change} {} of {} requests were answered{unchanged}", self.answered, self.sent)
            }
            ControlKind::Pace { interval_ms } => format!(
                "control: {} of {} more requests, {:.1} s apart as ping sends them, were answered",
                self.answered,
                self.sent,
                *interval_ms as f64 / 1000.0
            ),
            ControlKind::Size { passes, fails } => format!(
                "control: of {} requests of other sizes {} were answered, the longest with {passes} bytes of payload; \
                 {fails} bytes were not",
                self.sent, self.answered
            ),
        }
    }
}

/// Returns the smallest change of a field that makes packets pass, as a clause.
pub(super) fn decisive(controls: &[ControlRun]) -> Option<&str> {
    smallest(controls).map(|(_, change)| change)
}

/// Returns the field of the smallest change with which packets pass, and that change as a clause.
pub(crate) fn smallest(controls: &[ControlRun]) -> Option<(VariedField, &str)> {
    let fields = controls.iter().filter(|control| control.passed()).filter_map(|control| match &control.kind {
        ControlKind::Field { field, change, .. } => Some((*field, change.as_str())),
        _ => None,
    });
    fields.min_by_key(|(field, _)| *field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_passed_only_if_all_of_it_did() {
        let control = |answered| ControlRun {
            kind: ControlKind::Pace { interval_ms: 1_050 },
            sent: 2,
            answered,
            unchanged: None,
        };
        assert!(control(2).passed() && !control(1).passed());
        assert_eq!(control(2).packet_sizes(false), None);
        let size =
            ControlRun { kind: ControlKind::Size { passes: 1472, fails: 1473 }, sent: 9, answered: 5, unchanged: None };
        let long = ControlRun { kind: ControlKind::Size { passes: 65_506, fails: 65_507 }, ..size.clone() };
        assert_eq!(long.packet_sizes(true), Some((65_554, 65_555)));
        assert_eq!((size.packet_sizes(false), size.packet_sizes(true)), (Some((1500, 1501)), Some((1520, 1521))));
        let unchanged = UnchangedRuns { before: 12, before_answered: 0, after: 2, after_answered: 0 };
        let change = "with id 5 in place of 77".to_owned();
        let kind = ControlKind::Field { field: VariedField::Id, change, from: "77".into(), to: "5".into() };
        let varied = ControlRun { kind, unchanged: Some(unchanged), ..control(2) };
        assert_eq!(
            varied.text(),
            "control: with id 5 in place of 77 2 of 2 requests were answered; unchanged 0 of 12 before and 0 of 2 after"
        );
        assert_eq!(control(2).text(), "control: 2 of 2 more requests, 1.1 s apart as ping sends them, were answered");
    }
}
