//! What B, which has the guard, and A, which has not, say to each other, and what came through.

use probe_ebpf::{Echo, Family, Kind};
use probe_user::traffic::{EchoMessage, Frame};
use serde_json::Value;

use crate::common::{
    net::{A4, A6, B4, B6, PATIENCE, Pair, Wire, own_bpffs, sh},
    run::{Ran, probe},
};
use crate::filter::host::arrived;

/// One packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) family: Family,
    pub(crate) id: u16,
    pub(crate) seq: u16,
    pub(crate) code: u8,
}

pub(crate) fn said(family: Family, id: u16, seq: u16) -> Said {
    Said { family, id, seq, code: 0 }
}

const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

/// A and B with a guard on B's `vb`.
pub(crate) struct Talk {
    pub(crate) pair: Pair,
    a: Wire,
    b: Wire,
}

impl Talk {
    /// With a guard that has these options (`words`). A answers nothing by itself.
    pub(crate) fn new(words: &str) -> Self {
        let talk = Self::with_answers(words);
        let settings = ["ipv4/icmp_echo_ignore_all", "ipv6/icmp/echo_ignore_all"];
        for setting in settings {
            sh(&talk.pair.a, &format!("echo 1 > /proc/sys/net/{setting}"));
        }
        talk
    }

    /// The same, and A answers as kernels do.
    pub(crate) fn with_answers(words: &str) -> Self {
        own_bpffs();
        let pair = Pair::new();
        probe(&pair.b, &format!("filter guard -I vb {words}")).done();
        let (a, b) = (Wire::of(&pair.a, "va"), Wire::of(&pair.b, "vb"));
        Self { pair, a, b }
    }

    /// B asks A.
    pub(crate) fn ask(&self, packet: Said) {
        let before = self.guard()["requests_seen"].as_u64();
        self.b.put(&frame(packet, Echo::Request, End::B));
        self.until("the guard has seen it", || self.guard()["requests_seen"].as_u64() > before);
    }

    /// A replies to B; says whether that reached B's kernel.
    pub(crate) fn reply(&self, packet: Said) -> bool {
        let (arrived_before, before) = (arrived(&self.pair.b), self.judged());
        self.a.put(&frame(packet, Echo::Reply, End::A));
        let mut now = before;
        self.until("it was judged", || {
            now = self.judged();
            now != before
        });
        let passed = now.0 > before.0;
        self.until("it arrived, or did not", || arrived(&self.pair.b) == arrived_before + u64::from(passed));
        passed
    }

    /// A asks B; says whether that reached B's kernel.
    pub(crate) fn ask_b(&self, packet: Said) -> bool {
        let (before, denied) = (arrived(&self.pair.b), self.guard()["requests_dropped"].as_u64());
        self.a.put(&frame(packet, Echo::Request, End::A));
        let ended = || arrived(&self.pair.b) > before || self.guard()["requests_dropped"].as_u64() > denied;
        self.until("it arrived, or was dropped", ended);
        arrived(&self.pair.b) > before
    }

    /// The guard as `probe filter list` shows it.
    pub(crate) fn guard(&self) -> Value {
        guard(&probe(&self.pair.b, "filter list --format json").done())
    }

    /// Replies that were dropped for this cause.
    pub(crate) fn dropped_for(&self, cause: &str) -> u64 {
        self.guard()["replies"][cause].as_u64().expect("a count")
    }

    /// Replies that passed, and that were dropped.
    fn judged(&self) -> (u64, u64) {
        let replies = &self.guard()["replies"];
        let count = |name: &str| replies[name].as_u64().expect("a count");
        (count("passed"), count("dropped"))
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let end = std::time::Instant::now() + PATIENCE;
        while !holds() {
            assert!(std::time::Instant::now() < end, "in vain waited for: {what}: {}", self.guard());
        }
    }
}

/// The one guard in a document.
pub(crate) fn guard(ran: &Ran) -> Value {
    let document = ran.json();
    assert_eq!(document["schema"], "probe.filters/1");
    let guards = document["guards"].as_array().expect("an array");
    assert_eq!(guards.len(), 1, "{document}");
    guards[0].clone()
}

#[derive(Clone, Copy)]
enum End {
    A,
    B,
}

fn frame(packet: Said, echo: Echo, from: End) -> Vec<u8> {
    let kind = Kind { family: packet.family, echo };
    let message = EchoMessage::new(kind, packet.id, packet.seq, b"0123456789abcdef").code(packet.code);
    let ([to, by], v4, v6) = match from {
        End::A => ([MACS[1], MACS[0]], (A4, B4), (A6, B6)),
        End::B => (MACS, (B4, A4), (B6, A6)),
    };
    match packet.family {
        Family::V4 => Frame::v4(v4.0, v4.1, &message).macs(to, by).bytes(),
        Family::V6 => Frame::v6(v6.0, v6.1, &message).macs(to, by).bytes(),
    }
}
