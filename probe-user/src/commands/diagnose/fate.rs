//! Whether it is known what became of every probe, so that a run can end early: pure.

use probe_ebpf::Echo;
use std::collections::BTreeSet;

use probe_ebpf::Hop;

use crate::{
    model::trace::{
        HopTrace, HostTrace, SenderTrace,
        benign::{NO_SOCKET, may_have_arrived},
    },
    traffic::prober::fate_known,
};

/// What two or more looks have shown of probes that end without a trace.
#[derive(Debug, Default)]
pub(super) struct Fates {
    silent_before: BTreeSet<u16>,
}

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunEvidence<'a> {
    /// What the sending program knows.
    pub(super) sending: &'a SenderTrace,
    /// What this host saw so far.
    pub(super) local: &'a HostTrace,
    /// What the far end saw so far.
    pub(super) peer: Option<&'a HostTrace>,
    /// What hosts in between saw so far.
    pub(super) vias: &'a [&'a HostTrace],
    /// The leg that the sent packets travel.
    pub(super) first: Echo,
}

impl Fates {
    /// Reports whether each probe of `run` was refused, answered, turned back by a router, or seen to be dropped; or
    /// was taken in by the far kernel, which sent nothing, in this look and in the one before.
    pub(super) fn all_known(&mut self, run: &RunEvidence<'_>) -> bool {
        let silent = silent(run);
        let nobody_asked = run.first == Echo::Reply;
        let mut all = true;
        for sent in &run.sending.probes {
            let probe = sent.probe;
            let known = fate_known(run.sending, sent)
                || dropped(run.local, probe)
                || run.peer.is_some_and(|peer| dropped(peer, probe) || (nobody_asked && unwanted(peer, probe)))
                || run.vias.iter().any(|via| dropped(via, probe))
                || run.peer.into_iter().chain(run.vias.iter().copied()).any(|host| refused(host, probe))
                || (silent.contains(&probe) && self.silent_before.contains(&probe));
            all &= known;
        }
        self.silent_before = silent;
        all
    }
}

/// Reports whether every probe was answered. Then the verdict needs nothing that a host would have to look up: it uses
/// that only if packets stop.
pub(super) fn all_answered(sending: &SenderTrace) -> bool {
    !sending.probes.is_empty() && sending.probes.iter().all(|sent| sending.received.contains_key(&sent.probe))
}

/// Leaves out replies that came after the hops had been read, of which `local` therefore shows nothing: whoever was to see them
/// was no longer looking. `in_time` are the probes that were answered before.
pub(super) fn without_late(mut sending: SenderTrace, in_time: &BTreeSet<u16>, local: &HostTrace) -> SenderTrace {
    if seen(local, Hop::NetifIn, Echo::Reply).is_none() {
        return sending;
    }
    let mut shown: BTreeSet<u16> =
        local.hops.keys().filter_map(|hop| seen(local, *hop, Echo::Reply)).flatten().collect();
    let inwards = local.other_devices.iter().filter(|other| other.inwards && other.leg == Echo::Reply);
    shown.extend(inwards.flat_map(|other| &other.probes));
    let all = sending.received.len();
    sending.received.retain(|probe, _| in_time.contains(probe) || shown.contains(probe));
    sending.late = u16::try_from(all - sending.received.len()).unwrap_or(u16::MAX);
    sending
}

fn dropped(host: &HostTrace, probe: u16) -> bool {
    let elsewhere = host.places.iter().flat_map(|place| &place.drops);
    host.drops.iter().chain(elsewhere).any(|drop| drop.probe == Some(probe) && !may_have_arrived(drop))
}

/// Reports whether an ICMP error that came to a host says that a probe, or its reply, was dropped.
fn refused(host: &HostTrace, probe: u16) -> bool {
    host.heard.iter().any(|heard| heard.error.probe == probe && heard.error.ends_packet())
}

/// Reports whether a reply was freed because no socket waits for it: it has arrived all the same.
fn unwanted(host: &HostTrace, probe: u16) -> bool {
    host.drops.iter().any(|drop| drop.probe == Some(probe) && drop.reason == NO_SOCKET)
}

/// Probes that the host they were for has taken in without an answer. A kernel answers before it lets the request go, so
/// one that has let it go and has sent nothing never will. Two hops are not read at the same instant: hence two looks.
fn silent(run: &RunEvidence<'_>) -> BTreeSet<u16> {
    let Some(peer) = run.peer else { return BTreeSet::new() };
    let taken = seen(peer, Hop::IcmpIn, run.first).unwrap_or_default();
    if run.first == Echo::Reply {
        // Nobody answers a reply.
        return taken;
    }
    let built = seen(peer, Hop::NfOutputFirst, Echo::Reply);
    let left = seen(peer, Hop::TcOut, Echo::Reply);
    match (built, left) {
        (None, _) => BTreeSet::new(),
        (Some(built), left) => {
            let answered: BTreeSet<u16> = built.union(&left.unwrap_or_default()).copied().collect();
            taken.difference(&answered).copied().collect()
        }
    }
}

/// Returns the probes that a hop saw; `None` where it is blind.
fn seen(host: &HostTrace, hop: Hop, leg: Echo) -> Option<BTreeSet<u16>> {
    match (host.hop(hop), leg) {
        (HopTrace::Watched { requests, .. }, Echo::Request) => Some(requests.into_keys().collect()),
        (HopTrace::Watched { replies, .. }, Echo::Reply) => Some(replies.into_keys().collect()),
        (HopTrace::Blind { .. }, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::trace::{Drop, ProbePassage, Received, SentProbe};

    fn sending(errnos: &[Option<&str>]) -> SenderTrace {
        let probes = (0..).zip(errnos).map(|(probe, errno)| SentProbe {
            probe,
            id: 1,
            seq: probe,
            sent_ns: 1,
            errno: errno.map(str::to_owned),
        });
        SenderTrace { probes: probes.collect(), ..SenderTrace::default() }
    }

    fn drop(probe: u16, reason: &str) -> Drop {
        Drop {
            time_ns: 1,
            probe: Some(probe),
            leg: Echo::Request,
            id: 1,
            seq: 1,
            reason: reason.into(),
            function: String::new(),
            stack: Vec::new(),
            interface: None,
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            frame: crate::model::trace::FrameFacts::default(),
        }
    }

    fn reply() -> Received {
        Received {
            time_ns: 2,
            from: [10, 0, 0, 2].into(),
            id: 1,
            ttl: 64,
            times: 1,
            altered: None,
            bad_checksum: false,
        }
    }

    fn hop(requests: &[u16], replies: &[u16]) -> HopTrace {
        let steps = |probes: &[u16]| probes.iter().map(|probe| (*probe, ProbePassage::default())).collect();
        HopTrace::Watched { requests: steps(requests), replies: steps(replies) }
    }

    fn host(hops: &[(Hop, HopTrace)]) -> HostTrace {
        let hops = hops.iter().map(|(hop, sight)| (*hop, sight.clone())).collect();
        HostTrace { hops, ..HostTrace::default() }
    }

    fn known(sending: &SenderTrace, local: &HostTrace, peer: Option<&HostTrace>, first: Echo) -> [bool; 2] {
        let mut fates = Fates::default();
        let run = RunEvidence { sending, local, peer, vias: &[], first };
        [fates.all_known(&run), fates.all_known(&run)]
    }

    #[test]
    fn nothing_is_looked_up_where_every_probe_was_answered_and_only_there() {
        let mut sending = sending(&[None, None]);
        assert!(!all_answered(&sending) && !all_answered(&SenderTrace::default()));
        for (probe, all) in [(1, false), (0, true)] {
            sending.received.insert(probe, reply());
            assert_eq!(all_answered(&sending), all);
        }
    }

    #[test]
    fn a_reply_that_came_after_the_hops_were_read_is_left_out_and_counted() {
        let mut sending = sending(&[None, None, None]);
        for probe in 0..3 {
            sending.received.insert(probe, reply());
        }
        let seen_one = host(&[(Hop::NetifIn, hop(&[], &[])), (Hop::IcmpIn, hop(&[], &[1]))]);
        let kept = without_late(sending.clone(), &BTreeSet::from([0]), &seen_one);
        assert_eq!((kept.received.keys().copied().collect::<Vec<_>>(), kept.late), (vec![0, 1], 1));
        // A host that could not see replies come in tells nothing about them.
        assert_eq!(without_late(sending.clone(), &BTreeSet::new(), &HostTrace::default()), sending);
    }

    #[test]
    fn refused_and_dropped_probes_are_known_at_once() {
        let sending = sending(&[Some("EPERM"), None]);
        let local = HostTrace { drops: vec![drop(1, "TC_EGRESS")], ..HostTrace::default() };
        assert_eq!(known(&sending, &local, None, Echo::Request), [true, true]);
        assert_eq!(known(&sending, &HostTrace::default(), Some(&local), Echo::Request), [true, true]);
        assert_eq!(known(&sending, &HostTrace::default(), None, Echo::Request), [false, false]);
    }

    #[test]
    fn a_drop_event_of_a_delivered_packet_is_no_end() {
        for reason in ["CONSUMED", NO_SOCKET, "QUEUE_PURGE"] {
            let local = HostTrace { drops: vec![drop(0, reason)], ..HostTrace::default() };
            assert_eq!(known(&sending(&[None]), &local, None, Echo::Request), [false, false], "{reason}");
        }
    }

    #[test]
    fn a_kernel_that_took_it_in_and_sent_nothing_is_believed_the_second_time() {
        let (sending, here) = (sending(&[None]), HostTrace::default());
        let ignores = host(&[(Hop::IcmpIn, hop(&[0], &[])), (Hop::NfOutputFirst, hop(&[], &[]))]);
        assert_eq!(known(&sending, &here, Some(&ignores), Echo::Request), [false, true]);
        let answers = host(&[(Hop::IcmpIn, hop(&[0], &[])), (Hop::NfOutputFirst, hop(&[], &[0]))]);
        assert_eq!(known(&sending, &here, Some(&answers), Echo::Request), [false, false]);
        let blind = host(&[(Hop::IcmpIn, hop(&[0], &[]))]);
        assert_eq!(known(&sending, &here, Some(&blind), Echo::Request), [false, false]);
    }

    #[test]
    fn a_reply_that_nobody_asked_for_has_arrived_when_the_far_kernel_took_it_in() {
        let took = host(&[(Hop::IcmpIn, hop(&[], &[0]))]);
        assert_eq!(known(&sending(&[None]), &HostTrace::default(), Some(&took), Echo::Reply), [false, true]);
        let unwanted = HostTrace { drops: vec![drop(0, NO_SOCKET)], ..HostTrace::default() };
        assert_eq!(known(&sending(&[None]), &HostTrace::default(), Some(&unwanted), Echo::Reply), [true, true]);
    }
}
