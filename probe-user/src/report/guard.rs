//! The guards in `probe.filters/1`: the options of each, its state, and what it dropped.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::attach::FilterEffect;

use super::{
    style::{Style, Tone},
    table,
};

/// A guard: replies pass it only if a request went the other way.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct GuardRow {
    /// The interface.
    pub interface: String,
    /// The hook for incoming packets: `tc`, `xdp native` or `xdp generic`. Outgoing packets are seen at tc.
    pub ingress: &'static str,
    /// The direction of the replies that need a request: `in`, `out` or `both`.
    pub protect: &'static str,
    /// The fields that must match between a reply and its request: `addresses`, `source`, `destination`, `id`, `seq`,
    /// `code`.
    pub key: Vec<&'static str>,
    /// Whether it accepts only ICMP code 0.
    pub code_zero: bool,
    /// How long a request is remembered, in seconds.
    pub timeout_s: f64,
    /// How long it is remembered after the first reply, in seconds; absent if the same as `timeout_s`.
    pub timeout_after_reply_s: Option<f64>,
    /// The packets that restart the timeout: `request`, `reply`.
    pub refresh: Vec<&'static str>,
    /// How many replies pass for each request; absent if there is no limit.
    pub replies_per_request: Option<u32>,
    /// What happens to requests in the guarded direction: `allow` or `deny`.
    pub requests: &'static str,
    /// `drop`, or `count` for a dry run, which drops nothing.
    pub action: FilterEffect,
    /// The states that it keeps.
    pub states: States,
    /// The replies that it checked.
    pub replies: Replies,
    /// Requests for which replies may pass.
    pub requests_seen: u64,
    /// Requests that were dropped, or would have been.
    pub requests_dropped: u64,
    /// Seconds until it ends; 0 if it has ended; absent if it stays until it is removed or its command ends.
    pub expires_in_s: Option<u64>,
    /// The user who added it.
    pub added_by_uid: u32,
    /// When it was added, in seconds since 1970.
    pub added_unix_s: u64,
}

/// The states that a guard keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct States {
    /// The maximum number of states.
    pub room: u32,
    /// States in use.
    pub now: u64,
    /// States created so far.
    pub made: u64,
    /// States that were not created, for lack of room.
    pub refused: u64,
    /// States evicted early to make room for another one of the same address.
    pub evicted: u64,
    /// States that expired.
    pub expired: u64,
}

/// The replies that a guard checked. Those that it dropped, or would have, are listed by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Replies {
    /// Replies that passed.
    pub passed: u64,
    /// Replies dropped, for any cause.
    pub dropped: u64,
    /// No matching request is remembered.
    pub no_state: u64,
    /// The state had expired. This is counted only until another state takes its place.
    pub expired: u64,
    /// The limit of replies for the request was reached.
    pub too_many: u64,
    /// The ICMP code is not 0.
    pub bad_code: u64,
}

/// Writes the guards, a few lines each.
pub(super) fn write(out: &mut dyn Write, style: &Style, guards: &[GuardRow]) -> io::Result<()> {
    for guard in guards {
        let place = match guard.ingress {
            "tc" => "tc",
            other => other.trim_start_matches("xdp "),
        };
        let place = if place == "tc" { "tc".to_owned() } else { format!("XDP {place}") };
        let head = format!("guard on {} ({place}): {}", guard.interface, guard.law());
        writeln!(out, "{}", style.paint(Tone::Strong, &head))?;
        for (name, text) in [
            ("states", guard.states_text()),
            ("replies", guard.replies_text()),
            ("requests", guard.requests_text()),
            ("ends", guard.ends_text()),
        ] {
            writeln!(out, "  {name:<9} {text}")?;
        }
    }
    Ok(())
}

impl GuardRow {
    /// Describes the guard: `replies that come in pass if a request with the same addresses and id went out`.
    fn law(&self) -> String {
        let key = match self.key.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} and {last}", others.join(", ")),
            None => "nothing".to_owned(),
        };
        let (replies, requests) = match self.protect {
            "in" => ("replies that come in", "went out"),
            "out" => ("replies that go out", "came in"),
            _ => ("replies", "went the other way"),
        };
        let limit = match self.replies_per_request {
            Some(1) => ", one for each".to_owned(),
            Some(number) => format!(", {number} for each"),
            None => String::new(),
        };
        let dry = if self.action == FilterEffect::Count { "; a dry run, nothing is dropped" } else { "" };
        format!("{replies} pass if a request with the same {key} {requests}{limit}{dry}")
    }

    fn states_text(&self) -> String {
        let States { room, now, made, refused, evicted, expired } = self.states;
        let mut text = format!("{now} of {room} in use, {made} created, {expired} expired");
        for (count, what) in [(evicted, "made room"), (refused, "refused")] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text.push_str(&format!("; each lives {}", seconds(self.timeout_s)));
        if let Some(after) = self.timeout_after_reply_s {
            text.push_str(&format!(", once answered {}", seconds(after)));
        }
        let since = match self.refresh.as_slice() {
            [] => " from its first request".to_owned(),
            [one] => format!(" from its first request or last {one}"),
            _ => " from its last packet".to_owned(),
        };
        text + &since
    }

    fn replies_text(&self) -> String {
        let Replies { passed, dropped, no_state, expired, too_many, bad_code } = self.replies;
        let causes = [
            (no_state, "without a request"),
            (expired, "too late"),
            (too_many, "too many"),
            (bad_code, "with a code other than 0"),
        ];
        let causes: Vec<_> =
            causes.into_iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}")).collect();
        let verb = if self.action == FilterEffect::Count { "would be dropped" } else { "dropped" };
        let causes = if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) };
        format!("{passed} passed, {dropped} {verb}{causes}")
    }

    fn requests_text(&self) -> String {
        let verb = if self.action == FilterEffect::Count { "would be dropped" } else { "dropped" };
        let denied = match self.requests {
            "deny" => format!(", {} {verb} in the guarded direction", self.requests_dropped),
            _ => String::new(),
        };
        let code = if self.code_zero { ", code 0 only" } else { "" };
        format!("{} remembered or known{code}{denied}", self.requests_seen)
    }

    fn ends_text(&self) -> String {
        let ends = match self.expires_in_s {
            None => "when removed".to_owned(),
            Some(0) => "has ended, everything passes".to_owned(),
            Some(seconds) => format!("in {seconds} s"),
        };
        format!("{ends}; added {} by uid {}", table::date(self.added_unix_s), self.added_by_uid)
    }
}

fn seconds(seconds: f64) -> String {
    format!("{seconds} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> GuardRow {
        GuardRow {
            interface: "eth0".into(),
            ingress: "tc",
            protect: "in",
            key: vec!["addresses", "id"],
            code_zero: false,
            timeout_s: 60.0,
            timeout_after_reply_s: None,
            refresh: vec!["request", "reply"],
            replies_per_request: None,
            requests: "allow",
            action: FilterEffect::Drop,
            states: States { room: 65_536, now: 2, made: 5, refused: 0, evicted: 0, expired: 3 },
            replies: Replies { passed: 9, dropped: 3, no_state: 2, expired: 1, ..Replies::default() },
            requests_seen: 9,
            requests_dropped: 0,
            expires_in_s: None,
            added_by_uid: 0,
            added_unix_s: 1_700_000_000,
        }
    }

    fn text(row: GuardRow) -> String {
        let mut out = Vec::new();
        write(&mut out, &Style::plain(), &[row]).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_guard_is_told_in_sentences() {
        let expected = "\
guard on eth0 (tc): replies that come in pass if a request with the same addresses and id went out
  states    2 of 65536 in use, 5 created, 3 expired; each lives 60 s from its last packet
  replies   9 passed, 3 dropped (2 without a request, 1 too late)
  requests  9 remembered or known
  ends      when removed; added 2023-11-14 22:13:20 UTC by uid 0
";
        assert_eq!(text(row()), expected);
    }

    #[test]
    fn what_a_guard_was_told_changes_its_sentences() {
        let printed = text(GuardRow {
            ingress: "xdp native",
            protect: "out",
            key: vec!["id"],
            code_zero: true,
            timeout_s: 20.0,
            timeout_after_reply_s: Some(0.5),
            refresh: vec![],
            replies_per_request: Some(1),
            requests: "deny",
            action: FilterEffect::Count,
            states: States { refused: 4, evicted: 1, ..row().states },
            requests_dropped: 7,
            expires_in_s: Some(0),
            ..row()
        });
        for part in [
            "(XDP native): replies that go out pass if a request with the same id came in, one for each; a dry run",
            "3 expired, 1 made room, 4 refused; each lives 20 s, once answered 0.5 s from its first request",
            "3 would be dropped (",
            "9 remembered or known, code 0 only, 7 would be dropped in the guarded direction",
            "has ended, everything passes",
        ] {
            assert!(printed.contains(part), "{part}: {printed}");
        }
    }
}
