//! The hosts that play each part on a leg, and the words of the catalogue's texts that stand for them.

use probe_ebpf::{Echo, Family};

use crate::lab::plan::{LabHost, Nic};

/// A leg of the lab's path over one IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultSite {
    /// The IP version.
    pub family: Family,
    /// The leg.
    pub leg: Echo,
}

/// A host by its part on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The host that sends on this leg.
    Sender,
    /// The router.
    Router,
    /// The host that receives on this leg.
    Receiver,
}

impl FaultSite {
    /// Returns the host that plays this part.
    pub fn host(self, on: On) -> LabHost {
        match (on, self.leg) {
            (On::Router, _) => LabHost::Fw,
            (On::Sender, Echo::Request) | (On::Receiver, Echo::Reply) => LabHost::A,
            (On::Sender, Echo::Reply) | (On::Receiver, Echo::Request) => LabHost::B,
        }
    }

    /// Returns the interface of the sending or the receiving host.
    fn nic(self, on: On) -> Nic {
        if self.host(on) == LabHost::A { Nic::A } else { Nic::B }
    }

    /// Returns what each word in braces stands for.
    fn words(self) -> [(&'static str, String); 15] {
        let v4 = self.family == Family::V4;
        let either = |four: &'static str, six: &'static str| if v4 { four } else { six }.to_owned();
        let (sender, receiver) = (self.nic(On::Sender), self.nic(On::Receiver));
        let icmp = either("icmp", "icmpv6");
        let echo = if self.leg == Echo::Request { "echo-request" } else { "echo-reply" };
        let back = if self.leg == Echo::Request { "echo-reply" } else { "echo-request" };
        [
            ("{ip}", either("ip", "ip6")),
            ("{ipv}", either("ipv4", "ipv6")),
            ("{-4}", either("-4", "-6")),
            ("{32}", either("32", "128")),
            ("{24}", either("24", "64")),
            ("{echo}", format!("{icmp} type {echo}")),
            ("{back}", format!("{icmp} type {back}")),
            ("{type}", echo.to_owned()),
            ("{icmp}", icmp),
            ("{sender}", sender.address(self.family).to_string()),
            ("{receiver}", receiver.address(self.family).to_string()),
            // The router's interfaces: where packets of this leg come in, and where they go out.
            ("{in}", sender.peer().interface().to_owned()),
            ("{out}", receiver.peer().interface().to_owned()),
            ("{gateway}", sender.peer().address(self.family).to_string()),
            ("{last}", receiver.peer().address(self.family).to_string()),
        ]
    }

    /// Replaces each word in braces in `text` by what it stands for here.
    pub fn fill(self, text: &str) -> String {
        self.words().iter().fold(text.to_owned(), |text, (word, meaning)| text.replace(word, meaning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_the_leg_and_the_family() {
        let text = "{-4} {sender}/{32} > {receiver} {in}>{out} via {gateway} and {last}: {echo}, {back}, {ip} {icmp}";
        let request = FaultSite { family: Family::V4, leg: Echo::Request };
        assert_eq!(
            request.fill(text),
            "-4 10.77.0.10/32 > 10.78.0.20 a>b via 10.77.0.1 and 10.78.0.1: \
             icmp type echo-request, icmp type echo-reply, ip icmp"
        );
        let reply = FaultSite { family: Family::V6, leg: Echo::Reply };
        assert_eq!(
            reply.fill(text),
            "-6 fd77:0:0:b::20/128 > fd77:0:0:a::10 b>a via fd77:0:0:b::1 and fd77:0:0:a::1: \
             icmpv6 type echo-reply, icmpv6 type echo-request, ip6 icmpv6"
        );
    }

    #[test]
    fn the_sender_of_replies_is_b() {
        let reply = FaultSite { family: Family::V4, leg: Echo::Reply };
        assert_eq!(
            [On::Sender, On::Router, On::Receiver].map(|on| reply.host(on)),
            [LabHost::B, LabHost::Fw, LabHost::A]
        );
    }
}
