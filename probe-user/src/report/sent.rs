//! `probe.sent/1`: what `probe send` handed to the kernel, and what the kernel refused.

use std::{
    io::{self, Write},
    net::Ipv6Addr,
};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Document,
    style::{Style, Tone},
};

/// What was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Sent {
    /// Request or reply.
    pub kind: SentKind,
    /// The target.
    pub target: SentTarget,
    /// The id of the packets.
    pub id: u16,
    /// Who chose it.
    pub id_chosen_by: IdChoice,
    /// The sequence numbers that were tried; absent if the command ended earlier.
    pub seq: Option<SeqSpan>,
    /// Payload bytes of each packet.
    pub payload_bytes: u16,
    /// How many packets were asked for.
    pub asked: u32,
    /// How many the kernel accepted.
    pub sent: u32,
    /// The sends that the kernel refused, by errno, most first.
    pub failed: Vec<Failed>,
    /// The ICMP errors about these packets that arrived while sending, most first.
    pub returned: Vec<Back>,
    /// Which kind of socket carried them.
    pub socket: SocketKind,
    /// Whether Ctrl-C or SIGTERM ended it.
    pub interrupted: bool,
}

/// Request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SentKind {
    /// Echo requests.
    Request,
    /// Echo replies.
    Reply,
}

/// The target of the packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SentTarget {
    /// The target as typed.
    pub name: String,
    /// Its address; absent if the command ended before it was known.
    pub address: Option<String>,
}

/// Who chose the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdChoice {
    /// The user, with `-e`.
    User,
    /// probe, at random.
    Probe,
    /// The kernel: packets went through a ping socket.
    Kernel,
}

/// The first and the last sequence number; the last is the smaller one if they wrapped after 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SeqSpan {
    /// Of the first packet.
    pub first: u16,
    /// Of the last packet.
    pub last: u16,
    /// The step from one to the next: 1, or 0 if all are the same.
    pub step: u16,
}

/// Sends that failed with the same error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Failed {
    /// The errno's name, e.g. `EPERM`.
    pub errno: String,
    /// What it means for an ICMP packet.
    pub cause: String,
    /// What to check, as commands to paste.
    pub look: String,
    /// How many sends.
    pub count: u32,
}

/// ICMP errors of one kind from one sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Back {
    /// Who sent them.
    pub from: String,
    /// Their ICMP type.
    #[serde(rename = "type")]
    pub icmp_type: u8,
    /// Their ICMP code.
    pub code: u8,
    /// What they say.
    pub meaning: String,
    /// How many.
    pub count: u64,
}

/// Which kind of socket carried the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SocketKind {
    /// A raw socket.
    Raw,
    /// A ping socket, which needs no privilege.
    Ping,
}

impl Document for Sent {
    const SCHEMA: &'static str = "probe.sent/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        writeln!(out, "{}", self.headline(style))?;
        let times = style.either("×", "x");
        for failed in &self.failed {
            let count = style.paint(Tone::Bad, &format!("{} {times} {}", failed.count, failed.errno));
            writeln!(out, "  refused   {count}: {}", failed.cause)?;
            writeln!(out, "  look at   {}", failed.look)?;
        }
        for back in &self.returned {
            let count = style.paint(Tone::Warn, &format!("{} {times}", back.count));
            writeln!(out, "  came back {count} from {}: {}", back.from, back.meaning)?;
        }
        if self.id_chosen_by == IdChoice::Kernel {
            writeln!(out, "  id        chosen by the kernel: without CAP_NET_RAW, a ping socket was used")?;
        }
        Ok(())
    }
}

impl Sent {
    /// Returns how many sends were tried.
    fn tried(&self) -> u64 {
        u64::from(self.sent) + self.failed.iter().map(|failed| u64::from(failed.count)).sum::<u64>()
    }

    fn headline(&self, style: &Style) -> String {
        let complete = self.sent == self.asked;
        let number = match (complete, self.sent) {
            (true, sent) => sent.to_string(),
            (false, 0) => format!("none of {}", self.asked),
            (false, sent) => format!("{sent} of {}", self.asked),
        };
        let tone = match (complete, self.failed.is_empty()) {
            (true, _) => Tone::Good,
            (false, true) => Tone::Warn,
            (false, false) => Tone::Bad,
        };
        let count = style.paint(tone, &format!("sent {number} {}", self.noun()));
        let ended = if self.interrupted { ", interrupted" } else { "" };
        format!("{count} to {} ({}){ended}", self.target.text(), self.fields())
    }

    fn noun(&self) -> &'static str {
        match (self.kind, self.asked) {
            (SentKind::Request, 1) => "echo request",
            (SentKind::Request, _) => "echo requests",
            (SentKind::Reply, 1) => "echo reply",
            (SentKind::Reply, _) => "echo replies",
        }
    }

    fn fields(&self) -> String {
        let seq = self.seq.map(|span| format!("{}, ", span.text(self.tried()))).unwrap_or_default();
        format!("id 0x{0:x} = {0}, {seq}{1} bytes", self.id, self.payload_bytes)
    }
}

impl SentTarget {
    /// Returns the name with its address, or only the address if that was typed.
    fn text(&self) -> String {
        let is_address = |name: &str| {
            name.parse::<std::net::IpAddr>().is_ok()
                || name.split_once('%').is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok())
        };
        match &self.address {
            Some(address) if !is_address(&self.name) => format!("{} [{address}]", self.name),
            _ => self.name.clone(),
        }
    }
}

impl SeqSpan {
    fn text(self, tried: u64) -> String {
        let Self { first, last, step } = self;
        match tried {
            0 | 1 => format!("seq {first}"),
            _ if step == 0 => format!("seq {first} each"),
            2..=65_536 if first < last => format!("seq {first}-{last}"),
            2..=65_536 => format!("seq {first}-65535 and 0-{last}"),
            _ => format!("seq from {first} up, wrapped, to {last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{self, Format};

    fn sent() -> Sent {
        Sent {
            kind: SentKind::Request,
            target: SentTarget { name: "10.0.0.2".into(), address: Some("10.0.0.2".into()) },
            id: 43,
            id_chosen_by: IdChoice::User,
            seq: Some(SeqSpan { first: 1, last: 5, step: 1 }),
            payload_bytes: 56,
            asked: 5,
            sent: 5,
            failed: Vec::new(),
            returned: Vec::new(),
            socket: SocketKind::Raw,
            interrupted: false,
        }
    }

    fn refused() -> Sent {
        let failed =
            Failed { errno: "EPERM".into(), cause: "a rule".into(), look: "nft list ruleset".into(), count: 2 };
        Sent { sent: 3, failed: vec![failed], ..sent() }
    }

    fn printed(document: &Sent, format: Format) -> String {
        let mut out = Vec::new();
        report::write(&mut out, document, format, &Style::plain()).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn all_sent_is_one_line() {
        let text = printed(&sent(), Format::Text);
        assert_eq!(text, "sent 5 echo requests to 10.0.0.2 (id 0x2b = 43, seq 1-5, 56 bytes)\n");
    }

    #[test]
    fn a_refusal_has_its_cause_and_what_to_look_at() {
        let text = printed(&refused(), Format::Text);
        assert_eq!(
            text,
            "sent 3 of 5 echo requests to 10.0.0.2 (id 0x2b = 43, seq 1-5, 56 bytes)\n  \
             refused   2 x EPERM: a rule\n  look at   nft list ruleset\n"
        );
    }

    #[test]
    fn a_name_is_shown_with_its_address() {
        let target = SentTarget { name: "b.example".into(), address: Some("fd00::2".into()) };
        let document = Sent { target, kind: SentKind::Reply, asked: 1, sent: 1, ..sent() };
        let text = printed(&document, Format::Text);
        assert!(text.starts_with("sent 1 echo reply to b.example [fd00::2] (id"), "{text}");
        let zone = SentTarget { name: "fe80::1%eth0".into(), address: Some("fe80::1".into()) };
        assert_eq!(zone.text(), "fe80::1%eth0");
    }

    #[test]
    fn the_kernels_id_is_told_as_such() {
        let text = printed(&Sent { id_chosen_by: IdChoice::Kernel, ..sent() }, Format::Text);
        assert!(text.contains("id        chosen by the kernel"), "{text}");
    }

    #[test]
    fn an_interruption_before_the_first_packet_says_none() {
        let target = SentTarget { name: "b.example".into(), address: None };
        let document = Sent { sent: 0, seq: None, interrupted: true, target, ..sent() };
        let text = printed(&document, Format::Text);
        assert_eq!(text, "sent none of 5 echo requests to b.example (id 0x2b = 43, 56 bytes), interrupted\n");
    }

    #[test]
    fn errors_that_came_back_are_told_with_their_sender() {
        let back =
            Back { from: "10.0.0.1".into(), icmp_type: 3, code: 1, meaning: "host unreachable".into(), count: 3 };
        let text = printed(&Sent { returned: vec![back], ..sent() }, Format::Text);
        assert!(text.ends_with("  came back 3 x from 10.0.0.1: host unreachable\n"), "{text}");
    }

    #[test]
    fn sequence_numbers_read_as_a_span() {
        let text = |first, last, tried| SeqSpan { first, last, step: 1 }.text(tried);
        assert_eq!(text(7, 7, 1), "seq 7");
        assert_eq!(SeqSpan { first: 7, last: 7, step: 0 }.text(3), "seq 7 each");
        assert_eq!(text(65_534, 2, 5), "seq 65534-65535 and 0-2");
        assert_eq!(text(1, 4, 65_540), "seq from 1 up, wrapped, to 4");
    }

    #[test]
    fn json_has_the_contracts_fields() {
        let json: serde_json::Value = serde_json::from_str(&printed(&refused(), Format::Json)).expect("JSON");
        assert_eq!(json["schema"], "probe.sent/1");
        assert_eq!(json["kind"], "request");
        assert_eq!(json["target"], serde_json::json!({"name": "10.0.0.2", "address": "10.0.0.2"}));
        assert_eq!((json["id"].as_u64(), json["sent"].as_u64()), (Some(43), Some(3)));
        let failed = &json["failed"][0];
        assert_eq!((failed["errno"].as_str(), failed["count"].as_u64()), (Some("EPERM"), Some(2)));
        assert_eq!(failed["cause"], "a rule");
        assert_eq!(json["returned"], serde_json::json!([]));
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let mut out = Vec::new();
        let style = Style { colour: true, ..Style::plain() };
        refused().write_text(&mut out, &style).expect("memory takes all");
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("\x1b[31msent 3 of 5 echo requests\x1b[0m to "), "{text}");
    }
}
