//! The packets sent so far, and the report on them.

use std::collections::BTreeMap;

use crate::{
    cli::send::{Send, SendKind},
    report::sent::{Back, Failed, IdChoice, Sent, SentKind, SentTarget, SeqSpan, SocketKind},
    traffic::{Refused, ResolvedTarget, Returned, SendRoute, SocketType},
};

/// A report that grows with each packet.
pub(super) struct SendProgress {
    document: Sent,
    seq: u16,
    step: u16,
    tried: u32,
    target: Option<ResolvedTarget>,
    interface: Option<String>,
    refused: BTreeMap<(i32, Option<u32>), (Refused, u32)>,
}

impl SendProgress {
    pub(super) fn new(args: &Send, random_id: impl FnOnce() -> u16) -> Self {
        let id_chosen_by = if args.id.is_some() { IdChoice::User } else { IdChoice::Probe };
        let document = Sent {
            kind: match args.kind {
                SendKind::Request => SentKind::Request,
                SendKind::Reply => SentKind::Reply,
            },
            target: SentTarget { name: args.target.clone(), address: None },
            id: args.id.unwrap_or_else(random_id),
            id_chosen_by,
            seq: None,
            payload_bytes: args.size,
            asked: args.count,
            sent: 0,
            failed: Vec::new(),
            returned: Vec::new(),
            socket: SocketKind::Raw,
            interrupted: false,
        };
        Self {
            document,
            seq: args.seq,
            step: u16::from(!args.same_seq),
            tried: 0,
            target: None,
            interface: args.interface.clone(),
            refused: BTreeMap::new(),
        }
    }

    /// Records the resolved target and the type of the open socket.
    pub(super) fn start(&mut self, target: &ResolvedTarget, way: SocketType) {
        self.document.target.address = Some(target.address.ip().to_string());
        self.target = Some(target.clone());
        if let SocketType::Ping { id } = way {
            self.document.socket = SocketKind::Ping;
            self.document.id = id;
            if self.document.id_chosen_by == IdChoice::Probe {
                self.document.id_chosen_by = IdChoice::Kernel;
            }
        }
    }

    /// Returns the id of the packets.
    pub(super) fn id(&self) -> u16 {
        self.document.id
    }

    /// Returns the sequence number of the next packet, or `None` when all were tried.
    pub(super) fn next_seq(&self) -> Option<u16> {
        (self.tried < self.document.asked).then_some(self.seq)
    }

    /// Counts the packet of [`SendProgress::next_seq`], and moves on to the next one.
    pub(super) fn count(&mut self, result: Result<(), Refused>) {
        match result {
            Ok(()) => self.document.sent += 1,
            Err(refused) => {
                self.refused.entry((refused.errno as i32, refused.mtu)).or_insert((refused, 0)).1 += 1;
            }
        }
        let first = self.document.seq.map_or(self.seq, |span| span.first);
        self.document.seq = Some(SeqSpan { first, last: self.seq, step: self.step });
        self.tried += 1;
        self.seq = self.seq.wrapping_add(self.step);
    }

    /// Records the ICMP errors that arrived.
    pub(super) fn came_back(&mut self, returned: &BTreeMap<Returned, u64>) {
        self.document.returned = returned
            .iter()
            .map(|(returned, &count)| Back {
                from: returned.from.to_string(),
                icmp_type: returned.icmp_type,
                code: returned.code,
                meaning: returned.meaning(),
                count,
            })
            .collect();
        self.document.returned.sort_by_key(|back| std::cmp::Reverse(back.count));
    }

    /// Records that a signal ended the run.
    pub(super) fn interrupted(mut self) -> Self {
        self.document.interrupted = true;
        self
    }

    /// Returns the report.
    pub(super) fn document(mut self) -> Sent {
        if let Some(target) = &self.target {
            let route = SendRoute { target: target.address.ip(), interface: self.interface.as_deref() };
            self.document.failed =
                self.refused.values().map(|(refused, count)| failed(refused, *count, &route)).collect();
            self.document.failed.sort_by_key(|failed| std::cmp::Reverse(failed.count));
        }
        self.document
    }
}

fn failed(refused: &Refused, count: u32, route: &SendRoute<'_>) -> Failed {
    Failed { errno: format!("{:?}", refused.errno), cause: refused.cause(), look: refused.look(route), count }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use nix::errno::Errno;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn progress(words: &str) -> SendProgress {
        let cli = Cli::try_parse_from(format!("probe send request b {words}").split(' ')).expect("a good command line");
        let Verb::Send(args) = cli.verb else { panic!("not send") };
        let mut progress = SendProgress::new(&args, || 777);
        let target =
            ResolvedTarget { name: "b".into(), address: "10.0.0.2:0".parse().expect("an address"), others: Vec::new() };
        progress.start(&target, SocketType::Raw);
        progress
    }

    fn drain(progress: &mut SendProgress, results: &[Result<(), Refused>]) -> Vec<u16> {
        let mut results = results.iter().cycle();
        std::iter::from_fn(|| {
            let seq = progress.next_seq()?;
            progress.count(*results.next().expect("it cycles"));
            Some(seq)
        })
        .collect()
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut progress = progress("--seq 65534 -c 4");
        assert_eq!(drain(&mut progress, &[Ok(())]), [65_534, 65_535, 0, 1]);
        let document = progress.document();
        assert_eq!((document.seq, document.sent), (Some(SeqSpan { first: 65_534, last: 1, step: 1 }), 4));
    }

    #[test]
    fn the_same_sequence_number_stays() {
        assert_eq!(drain(&mut progress("--seq 9 --same-seq -c 3"), &[Ok(())]), [9, 9, 9]);
    }

    #[test]
    fn refusals_are_counted_by_errno_most_first() {
        let refuse = |errno| Err(Refused { errno, mtu: None });
        let mut progress = progress("-c 4 -I eth0");
        drain(&mut progress, &[Ok(()), refuse(Errno::EPERM), refuse(Errno::ENOBUFS), refuse(Errno::ENOBUFS)]);
        let document = progress.document();
        let counts: Vec<_> = document.failed.iter().map(|failed| (failed.errno.as_str(), failed.count)).collect();
        assert_eq!((document.sent, counts), (1, vec![("ENOBUFS", 2), ("EPERM", 1)]));
        assert!(document.failed[0].look.contains("dev eth0"), "{:?}", document.failed);
    }

    #[test]
    fn the_one_who_chose_the_id_is_named() {
        let chosen = |words: &str, way| {
            let mut progress = progress(words);
            progress.start(
                &ResolvedTarget {
                    name: "b".into(),
                    address: "10.0.0.2:0".parse().expect("an address"),
                    others: Vec::new(),
                },
                way,
            );
            (progress.document.id, progress.document.id_chosen_by)
        };
        assert_eq!(chosen("-c 1", SocketType::Raw), (777, IdChoice::Probe));
        assert_eq!(chosen("-e 43", SocketType::Raw), (43, IdChoice::User));
        assert_eq!(chosen("-c 1", SocketType::Ping { id: 99 }), (99, IdChoice::Kernel));
        assert_eq!(chosen("-e 43", SocketType::Ping { id: 43 }), (43, IdChoice::User));
    }
}
