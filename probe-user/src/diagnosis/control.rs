//! What was sent besides the probes, with one thing changed, and what came of it.

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
}

/// What a control changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
}

impl ControlRun {
    /// Returns whether every packet was answered.
    pub fn passed(&self) -> bool {
        self.sent > 0 && self.answered == self.sent
    }

    /// Returns the longest packet that was answered and the shortest that was not, where sizes were tried: bytes with the headers
    /// of IP and ICMP, without options.
    pub fn packet_sizes(&self, v6: bool) -> Option<(u32, u32)> {
        let ControlKind::Size { passes, fails } = self.kind else { return None };
        let headers = if v6 { 48 } else { 28 };
        // The longest payload and the headers are more than 16 bits hold.
        Some((u32::from(passes) + headers, u32::from(fails) + headers))
    }

    /// Says what came of it, as a clause.
    pub fn text(&self) -> String {
        match self.kind {
            ControlKind::Pace { interval_ms } => format!(
                "control: {} of {} more requests, {:.1} s apart as ping sends them, were answered",
                self.answered,
                self.sent,
                interval_ms as f64 / 1000.0
            ),
            ControlKind::Size { passes, fails } => format!(
                "control: of {} requests of other sizes {} were answered, the longest with {passes} bytes of payload; \
                 {fails} bytes were not",
                self.sent, self.answered
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_passed_only_if_all_of_it_did() {
        let control = |answered| ControlRun { kind: ControlKind::Pace { interval_ms: 1_050 }, sent: 2, answered };
        assert!(control(2).passed() && !control(1).passed());
        assert_eq!(control(2).packet_sizes(false), None);
        let size = ControlRun { kind: ControlKind::Size { passes: 1472, fails: 1473 }, sent: 9, answered: 5 };
        let long = ControlRun { kind: ControlKind::Size { passes: 65_506, fails: 65_507 }, ..size.clone() };
        assert_eq!(long.packet_sizes(true), Some((65_554, 65_555)));
        assert_eq!((size.packet_sizes(false), size.packet_sizes(true)), (Some((1500, 1501)), Some((1520, 1521))));
        assert_eq!(control(2).text(), "control: 2 of 2 more requests, 1.1 s apart as ping sends them, were answered");
    }
}
