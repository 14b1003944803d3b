//! The question for an address, and its answers, as frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use probe_ebpf::{
    contract::neighbour::{ANSWERS, ARP, arp, discovery},
    packet::{ETHERNET_HEADER, ICMPV6, IPV6, IPV6_HEADER},
};

use crate::{host::link_facts, traffic::checksum::checksum_v6};

/// Types of messages of neighbour discovery (RFC 4861 §4.3), and of the option that has the asker's link-layer address.
const SOLICITATION: u8 = 135;
const SOURCE_LLADDR: u8 = 1;

/// A question for an address, whose answers are told from those to anybody else's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    /// What is asked for.
    pub(super) address: IpAddr,
    /// The link-layer address that the frame comes from.
    pub(super) own: [u8; 6],
    /// The one at which answers are wanted, which nobody has.
    pub(super) answer_to: [u8; 6],
}

impl Question {
    /// Returns the `EtherType` of question and answers.
    pub(super) const fn protocol(&self) -> u16 {
        if self.address.is_ipv4() { ARP } else { IPV6 }
    }

    /// Returns the frame that asks.
    pub(super) fn frame(&self) -> Vec<u8> {
        match self.address {
            IpAddr::V4(address) => self.request(address),
            IpAddr::V6(address) => self.solicitation(address),
        }
    }

    /// Returns who answers in `frame`, if it is an answer to this very question.
    pub(super) fn answered_by(&self, frame: &[u8]) -> Option<String> {
        let packet = frame.get(ETHERNET_HEADER..)?;
        let (message, mine, about) = match self.address {
            IpAddr::V4(address) => {
                let message = arp(packet)?;
                (message, packet.get(18..24)? == self.answer_to, address.to_ipv6_mapped())
            }
            IpAddr::V6(address) => {
                let message = discovery(packet)?;
                (message, packet.get(24..IPV6_HEADER)? == self.asker().octets(), address)
            }
        };
        let about = message.kind == ANSWERS && message.about == about.octets();
        (mine && about).then(|| link_facts::lladdr(&message.lladdr)).flatten()
    }

    fn request(&self, address: Ipv4Addr) -> Vec<u8> {
        let mut frame = self.header([0xff; 6]);
        frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(self.answer_to);
        frame.extend([0; 4 + 6]);
        frame.extend(address.octets());
        frame
    }

    /// Builds the solicitation (RFC 4861 §7.2.2), to the group of those whose addresses end as this one.
    fn solicitation(&self, address: Ipv6Addr) -> Vec<u8> {
        let [.., a, b, c] = address.octets();
        let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
        let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        message.extend(address.octets());
        message.extend([SOURCE_LLADDR, 1]);
        message.extend(self.answer_to);
        let sum = checksum_v6(self.asker(), group, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = self.header([0x33, 0x33, 0xff, a, b, c]);
        frame.extend([0x60, 0, 0, 0, 0, 32, ICMPV6, 255]);
        frame.extend(self.asker().octets());
        frame.extend(group.octets());
        frame.extend(message);
        frame
    }

    fn header(&self, to: [u8; 6]) -> Vec<u8> {
        let mut frame = Vec::from(to);
        frame.extend(self.own);
        frame.extend(self.protocol().to_be_bytes());
        frame
    }

    /// Returns the address that asks, a link-local one that nobody has.
    fn asker(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.answer_to;
        Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, 0xff, 0xfe, d, e, f])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe_ebpf::contract::neighbour::ASKS;

    fn question(address: &str) -> Question {
        let address = address.parse().expect("an address");
        Question { address, own: [2, 0, 0, 0, 0, 1], answer_to: [2, 0, 0, 0, 0, 9] }
    }

    #[test]
    fn only_an_answer_to_this_very_request_counts() {
        let asked = question("10.0.0.2");
        let frame = asked.frame();
        assert_eq!((frame.len(), asked.answered_by(&frame)), (ETHERNET_HEADER + 28, None));
        let mut said = frame.clone();
        said[21] = 2;
        said[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
        said[28..32].copy_from_slice(&[10, 0, 0, 2]);
        said[32..38].copy_from_slice(&asked.answer_to);
        assert_eq!(asked.answered_by(&said).as_deref(), Some("02:00:00:00:00:07"));
        assert_eq!(Question { answer_to: [2; 6], ..asked }.answered_by(&said), None);
        assert_eq!(question("10.0.0.3").answered_by(&said), None);
    }

    #[test]
    fn only_an_advertisement_for_this_very_solicitation_counts() {
        let asked = question("fd00::2");
        let frame = asked.frame();
        let packet = &frame[ETHERNET_HEADER..];
        let message = discovery(packet).expect("neighbour discovery");
        assert_eq!((message.kind, message.about), (ASKS, "fd00::2".parse::<Ipv6Addr>().expect("one").octets()));
        let [source, group] = [8, 24].map(|at| Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).expect("16")));
        assert_eq!(group.to_string(), "ff02::1:ff00:2");
        assert_eq!(checksum_v6(source, group, &packet[IPV6_HEADER..]), 0);
        assert_eq!(asked.answered_by(&frame), None);
        let mut said = frame.clone();
        said[ETHERNET_HEADER + 24..ETHERNET_HEADER + 40].copy_from_slice(&asked.asker().octets());
        said[ETHERNET_HEADER + IPV6_HEADER] = 136;
        said[ETHERNET_HEADER + IPV6_HEADER + 24] = 2;
        let last = said.len() - 6;
        said[last..].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
        assert_eq!(asked.answered_by(&said).as_deref(), Some("02:00:00:00:00:07"));
        assert_eq!(Question { answer_to: [2; 6], ..asked }.answered_by(&said), None);
        assert_eq!(question("fd00::3").answered_by(&said), None);
    }
}
