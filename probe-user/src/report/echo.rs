//! `probe.echo/1`: one echo packet that arrived.

use std::{
    io::{self, Write},
    net::IpAddr,
};

use probe_ebpf::{Echo, Family};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Document,
    style::{Style, Tone},
};

/// One echo packet, as the interface received it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EchoSeen {
    /// When it was received: nanoseconds since 1970.
    pub time_ns: u64,
    /// The interface.
    pub interface: String,
    /// `request` or `reply`.
    pub kind: &'static str,
    /// ICMP type.
    #[serde(rename = "type")]
    pub icmp_type: u8,
    /// ICMP code.
    pub code: u8,
    /// Echo id.
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Bytes after the ICMP header.
    pub payload_bytes: u32,
    /// Whether the ICMP checksum is right.
    pub checksum: Checksum,
    /// Whether probe hid the packet from the kernel.
    pub absorbed: bool,
}

/// The result of verifying a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// It is right.
    Good,
    /// It is wrong: the receiver will discard the packet.
    Bad,
    /// Only part of the packet was captured: it is a first fragment, or larger than probe copies.
    Unknown,
}

impl EchoSeen {
    /// Returns its IP version.
    pub fn family(&self) -> Family {
        if self.source.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// Returns the words for request and reply.
pub fn kind_name(echo: Echo) -> &'static str {
    match echo {
        Echo::Request => "request",
        Echo::Reply => "reply",
    }
}

impl Document for EchoSeen {
    const SCHEMA: &'static str = "probe.echo/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let time = i64::try_from(self.time_ns).ok().and_then(|ns| jiff::Timestamp::from_nanosecond(ns.into()).ok());
        let time = time.map_or_else(String::new, |time| {
            time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S.%6f").to_string()
        });
        let code = if self.code == 0 { String::new() } else { format!(" code {}", self.code) };
        write!(
            out,
            "{} {} {:<7}{code} {} {} {}  id {} ({:#x}) seq {} ttl {} payload {} bytes",
            style.paint(Tone::Dim, &time),
            self.interface,
            self.kind,
            self.source,
            style.either("→", "->"),
            self.destination,
            self.id,
            self.id,
            self.seq,
            self.ttl,
            self.payload_bytes
        )?;
        match self.checksum {
            Checksum::Good => {}
            Checksum::Bad => write!(out, "  {}", style.paint(Tone::Bad, "checksum bad"))?,
            Checksum::Unknown => write!(out, "  checksum unknown (the captured packet is incomplete)")?,
        }
        if self.absorbed {
            write!(out, "  {}", style.paint(Tone::Warn, "absorbed"))?;
        }
        writeln!(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{self, Format};

    fn seen() -> EchoSeen {
        EchoSeen {
            time_ns: 1_700_000_000_123_456_789,
            interface: "eth0".into(),
            kind: kind_name(Echo::Reply),
            icmp_type: 0,
            code: 3,
            id: 43,
            seq: 7,
            source: "10.0.0.1".parse().expect("an address"),
            destination: "10.0.0.2".parse().expect("an address"),
            ttl: 64,
            payload_bytes: 56,
            checksum: Checksum::Bad,
            absorbed: true,
        }
    }

    fn written(format: Format) -> String {
        let mut out = Vec::new();
        report::write(&mut out, &seen(), format, &Style::plain()).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn text_is_one_line_with_all_that_is_unusual() {
        let text = written(Format::Text);
        let rest = "eth0 reply   code 3 10.0.0.1 -> 10.0.0.2  id 43 (0x2b) seq 7 ttl 64 payload 56 bytes  checksum bad  absorbed\n";
        assert!(text.ends_with(rest), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn json_has_the_documented_fields() {
        let json: serde_json::Value = serde_json::from_str(&written(Format::Json)).expect("JSON");
        assert_eq!(json["schema"], "probe.echo/1");
        assert_eq!((&json["checksum"], &json["absorbed"]), (&"bad".into(), &true.into()));
        for field in ["time_ns", "kind", "code", "id", "seq", "source", "destination", "ttl", "payload_bytes"] {
            assert!(json.get(field).is_some(), "{field}");
        }
    }
}
