//! `probe send`.

mod pace;
mod progress;

use std::hash::{BuildHasher, RandomState};

use nix::errno::Errno;
use probe_ebpf::Echo;

use self::{pace::Pace, progress::SendProgress};
use super::{
    CommandResult, Screen,
    interrupt::{Interrupt, block_on},
    place,
};
use crate::{
    cli::send::{Send, SendKind},
    error::Failure,
    exit::Exit,
    traffic::{
        Fragmentation, Refused, ResolvedTarget, Sender, Settings, TargetError, packet::counting_payload,
        target::resolve,
    },
};

/// How many times [`Sender::PATIENCE`] a packet waits for room in the send buffer before it counts as refused.
const MAX_WAITS: u32 = 8;

/// Runs `probe send`.
pub fn run(args: &Send, screen: &Screen) -> CommandResult {
    place::enter(&args.place)?;
    block_on(send(args, screen))
}

async fn send(args: &Send, screen: &Screen) -> CommandResult {
    let mut interrupt = Interrupt::new()?;
    let mut progress = SendProgress::new(args, random_id);
    let target = tokio::select! {
        biased;
        () = interrupt.caught() => return finish(progress.interrupted(), screen),
        target = find(args) => target?,
    };
    let mut sender = Sender::open(&settings(args, &target))?;
    progress.start(&target, sender.way());
    let ended = send_all(args, &mut sender, &mut progress, &mut interrupt).await;
    progress.came_back(sender.returned());
    finish(if ended == Ended::Interrupted { progress.interrupted() } else { progress }, screen)
}

/// How the sending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    All,
    Interrupted,
}

/// Sends packet after packet on schedule, until all are sent or a signal comes.
async fn send_all(args: &Send, sender: &mut Sender, progress: &mut SendProgress, interrupt: &mut Interrupt) -> Ended {
    let payload = counting_payload(args.size.into());
    let mut pace = Pace::new(args.interval);
    let mut waits = 0;
    while let Some(seq) = progress.next_seq() {
        tokio::select! {
            biased;
            () = interrupt.caught() => return Ended::Interrupted,
            () = pace.wait() => {}
        }
        let result = sender.send(progress.id(), seq, &payload);
        if matches!(result, Err(Refused { errno: Errno::EAGAIN, .. })) && waits < MAX_WAITS {
            waits += 1;
            continue;
        }
        waits = 0;
        tell(seq, result);
        progress.count(result);
        pace.sent();
    }
    Ended::All
}

/// Prints the line of one packet, with `-v`.
fn tell(seq: u16, result: Result<(), Refused>) {
    match result {
        Ok(()) => tracing::info!("seq {seq}: sent"),
        Err(refused) => tracing::info!("seq {seq}: refused, {refused}"),
    }
}

/// Prints the report and returns its exit status.
fn finish(progress: SendProgress, screen: &Screen) -> CommandResult {
    let document = progress.document();
    screen.print(&document)?;
    Ok(match (document.interrupted, document.failed.is_empty()) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Done,
        (false, false) => Exit::Stopped,
    })
}

/// Resolves the target while listening for signals, since a name server can take long.
async fn find(args: &Send) -> Result<ResolvedTarget, Failure> {
    let (name, interface) = (args.target.clone(), args.interface.clone());
    let family = args.family.or_of(args.source);
    tokio::task::spawn_blocking(move || resolve(&name, family, interface.as_deref()))
        .await
        .map_err(|error| {
            Failure::new(format!("the resolver stopped: {error}"), "give an IP address instead of a name")
        })?
        .map_err(|error: TargetError| error.into())
}

fn settings(args: &Send, target: &ResolvedTarget) -> Settings {
    let echo = match args.kind {
        SendKind::Request => Echo::Request,
        SendKind::Reply => Echo::Reply,
    };
    Settings {
        code: args.code,
        source: args.source,
        interface: args.interface.clone(),
        ttl: args.ttl,
        dscp: args.dscp,
        fragmentation: if args.df { Fragmentation::Forbidden } else { Fragmentation::Allowed },
        id: args.id,
        ..Settings::new(echo, target.address)
    }
}

/// Returns a random id that other pings on this host hardly use; never 0, which some boxes take for "none". The
/// standard library seeds its hash maps from the system's random numbers.
fn random_id() -> u16 {
    let random = RandomState::new().hash_one(std::process::id());
    u16::try_from(random % 65_535 + 1).expect("1 to 65535")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use probe_ebpf::Family;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn parsed(words: &str) -> Send {
        let cli = Cli::try_parse_from(words.split(' ')).expect("a good command line");
        match cli.verb {
            Verb::Send(send) => send,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_source_decides_the_family_where_no_flag_does() {
        let family = |flags: &str| {
            let args = parsed(&format!("probe send request b {flags}"));
            args.family.or_of(args.source)
        };
        assert_eq!(family("-c 1"), None);
        assert_eq!(family("-4"), Some(Family::V4));
        assert_eq!(family("-S fd00::1"), Some(Family::V6));
        assert_eq!(family("-4 -S fd00::1"), Some(Family::V4));
    }

    #[test]
    fn every_flag_reaches_the_sender() {
        let args = parsed("probe send reply b -e 0x2b -t 3 -S 10.0.0.1 -I eth0 --df --dscp 46 --code 9");
        let target =
            ResolvedTarget { name: "b".into(), address: "10.0.0.2:0".parse().expect("an address"), others: Vec::new() };
        let expected = Settings {
            echo: Echo::Reply,
            target: target.address,
            code: 9,
            source: "10.0.0.1".parse().ok(),
            interface: Some("eth0".into()),
            ttl: Some(3),
            dscp: 46,
            ecn: 0,
            mark: None,
            fragmentation: Fragmentation::Forbidden,
            id: Some(43),
            program: None,
            identity: None,
        };
        assert_eq!(settings(&args, &target), expected);
    }

    #[test]
    fn random_ids_differ_and_are_never_zero() {
        let ids: std::collections::BTreeSet<u16> = (0..100).map(|_| random_id()).collect();
        assert!(ids.len() > 50 && !ids.contains(&0), "{ids:?}");
    }
}
