//! Converts flags to a rule, and refuses those that make no sense.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::unistd::getuid;
use probe_ebpf::{
    Direction, Echo, Family, Kind, Rule,
    filter::{ASKS_DESTINATION, ASKS_INNER, ASKS_PAYLOAD, ASKS_SEQ, ASKS_SOURCE, AddressMask, DRY_RUN, HELD},
};

use crate::{
    cli::filter::{Add, DirectionChoice, HookChoice, KindChoice, MatchArgs},
    clock::monotonic_ns,
    ebpf::pins::FilterHook,
    error::Failure,
    filter::rules::Kinds,
    model::{
        attach::{TcChoice, XdpChoice},
        duration::nanoseconds,
        ids::IdRange,
        prefix::Prefix,
    },
};

/// How long a rule survives its command, if the command is killed.
pub(super) const LEASE: Duration = Duration::from_secs(5);

/// Returns the rule that `args` ask for, without a number.
///
/// # Errors
/// The flags contradict each other, or match everything without `--all-echo`.
pub(super) fn rule(args: &Add) -> Result<Rule, Failure> {
    let wanted = &args.wanted;
    refuse_everything(wanted)?;
    let kinds = kinds(wanted)?;
    let all = IdRange { first: 0, last: u16::MAX };
    let ids = wanted.id.unwrap_or(all);
    let (seqs, sizes) = (wanted.seq.unwrap_or(all), wanted.size.unwrap_or(all));
    let asked = |asks: bool, bit: u32| if asks { bit } else { 0 };
    let mut rule = Rule {
        deadline_ns: deadline(args, monotonic_ns()),
        added_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
        added_by_uid: getuid().as_raw(),
        id_first: ids.first,
        id_last: ids.last,
        seq_first: seqs.first,
        seq_last: seqs.last,
        payload_first: sizes.first,
        payload_last: sizes.last,
        source: mask(wanted.source),
        destination: mask(wanted.destination),
        kinds: kinds.bits(),
        asks: asked(wanted.seq.is_some(), ASKS_SEQ)
            | asked(wanted.size.is_some(), ASKS_PAYLOAD)
            | asked(wanted.source.is_some(), ASKS_SOURCE)
            | asked(wanted.destination.is_some(), ASKS_DESTINATION)
            | asked(wanted.inner, ASKS_INNER)
            | asked(args.done.dry_run, DRY_RUN)
            | asked(args.until_exit, HELD),
        ..Rule::default()
    };
    args.done.action().write(&mut rule);
    Ok(rule)
}

/// Returns when a rule ends that is added at `now`, or whose command still runs then; 0 means never by itself.
fn deadline(args: &Add, now: u64) -> u64 {
    let own = args.lifetime.map(|lifetime| now + nanoseconds(lifetime));
    let lease = args.until_exit.then(|| now + nanoseconds(LEASE));
    own.into_iter().chain(lease).min().unwrap_or(0)
}

fn refuse_everything(wanted: &MatchArgs) -> Result<(), Failure> {
    let in_particular = matches!(wanted.kind, Some(KindChoice::Request | KindChoice::Reply))
        || [wanted.id, wanted.seq, wanted.size].iter().any(Option::is_some)
        || [wanted.source, wanted.destination].iter().any(Option::is_some);
    if in_particular || wanted.all_echo {
        return Ok(());
    }
    Err(Failure::new(
        "this rule would match every echo packet",
        "select packets (--type, -e, --seq, -S, -D, -s), or give --all-echo if that is meant",
    ))
}

fn mask(prefix: Option<Prefix>) -> AddressMask {
    prefix.map(|prefix| prefix.mask()).unwrap_or_default()
}

fn kinds(wanted: &MatchArgs) -> Result<Kinds, Failure> {
    let addressed = [wanted.source, wanted.destination];
    let families: Vec<Family> = addressed.iter().flatten().map(Prefix::family).collect();
    let typed = [(wanted.family.v4, Family::V4), (wanted.family.v6, Family::V6)];
    let asked = typed.iter().filter(|(asked, _)| *asked).map(|(_, family)| *family);
    let all: Vec<Family> = families.into_iter().chain(asked).collect();
    if all.contains(&Family::V4) && all.contains(&Family::V6) {
        return Err(Failure::new(
            "no packet has addresses of both IP versions",
            "use one IP version in -S, -D and -4 or -6, or add two rules",
        ));
    }
    let family = all.first().copied();
    Ok(Kinds::matching(|kind: Kind| {
        let type_fits = match wanted.kind.unwrap_or_default() {
            KindChoice::Request => kind.echo == Echo::Request,
            KindChoice::Reply => kind.echo == Echo::Reply,
            KindChoice::Both => true,
        };
        type_fits && family.is_none_or(|family| family == kind.family)
    }))
}

/// Returns the direction that is filtered.
pub(super) fn direction(args: &Add) -> Direction {
    match args.direction {
        DirectionChoice::In => Direction::In,
        DirectionChoice::Out => Direction::Out,
    }
}

/// Returns the hook to filter at, if filtering does not happen elsewhere already.
pub(super) fn hook(args: &Add) -> Result<FilterHook, Failure> {
    match (args.direction, args.hook) {
        (DirectionChoice::Out, Some(HookChoice::Xdp)) => Err(Failure::new(
            "XDP sees only incoming packets",
            "leave out --hook xdp: outgoing packets are filtered at tc",
        )),
        (DirectionChoice::Out, _) => Ok(FilterHook::Tc(Direction::Out)),
        (DirectionChoice::In, Some(HookChoice::Tc)) => Ok(FilterHook::Tc(Direction::In)),
        (DirectionChoice::In, None | Some(HookChoice::Xdp)) => Ok(FilterHook::Xdp),
    }
}

/// Returns whether any flag about where and how to attach was given.
pub(super) fn asks_for_hook(args: &Add) -> bool {
    args.hook.is_some() || args.attach.xdp != XdpChoice::Auto || args.attach.tc != TcChoice::Auto
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::*;
    use crate::filter::rules::RuleAction;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        add: Add,
    }

    fn parse(words: &str) -> Result<Rule, String> {
        let words = ["add", "-I", "eth0"].into_iter().chain(words.split_whitespace());
        let typed = Typed::try_parse_from(words).map_err(|error| error.to_string())?;
        rule(&typed.add).map_err(|failure| failure.to_string())
    }

    fn kinds_of(words: &str) -> (&'static str, Option<Family>) {
        let kinds = Kinds::of(&parse(words).expect("good"));
        (kinds.types(), kinds.family())
    }

    #[test]
    fn a_rule_matches_what_was_asked_for() {
        assert_eq!(kinds_of("--type reply -4"), ("reply", Some(Family::V4)));
        assert_eq!(kinds_of("--all-echo"), ("both", None));
        assert_eq!(kinds_of("-S fd00::/8"), ("both", Some(Family::V6)));
        assert_eq!(kinds_of("--type request -D 10.0.0.1 -4"), ("request", Some(Family::V4)));
        let rule = parse("-e 0x10-0x20 --seq 5 -s 56-1472 --every 3 --dry-run").expect("good");
        assert_eq!((rule.id_first, rule.id_last, rule.seq_first, rule.seq_last), (16, 32, 5, 5));
        assert_eq!((rule.payload_first, rule.payload_last), (56, 1472));
        assert_eq!((rule.asks, rule.deadline_ns), (ASKS_SEQ | ASKS_PAYLOAD | DRY_RUN, 0));
        assert_eq!(RuleAction::of(&rule), RuleAction::Every(3));
    }

    #[test]
    fn what_matches_nothing_in_particular_must_be_meant() {
        for words in ["", "-4", "--type both", "--every 3", "--direction out --for 3"] {
            let error = parse(words).expect_err(words);
            assert!(error.contains("every echo packet") && error.contains("--all-echo if that is meant"), "{error}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for words in ["-S 10.0.0.1 -6", "-S 10.0.0.1 -D fd00::1"] {
            assert!(parse(words).expect_err(words).contains("both IP versions"));
        }
        let together = [
            "--all-echo -e 7",
            "-e 7 --pass --every 3",
            "-e 7 --first 1 --after 2",
            "-e 7 --pass --dry-run",
            "-e 7 --every 0",
        ];
        for words in together {
            assert!(parse(words).is_err(), "{words}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_a_rule_or_a_sentence(
            flags in prop::collection::vec(
                (prop::sample::select(vec!["-e", "--seq", "-S", "-D", "-s", "--rate", "--probability", "--every", "--for"]), "[-0-9a-fx./:%]{0,12}"),
                0..4,
            ),
        ) {
            let words: Vec<String> = flags.iter().map(|(flag, value)| format!("{flag}={value}")).collect();
            match parse(&words.join(" ")) {
                Ok(rule) => prop_assert!(rule.kinds != 0 && rule.id_first <= rule.id_last && rule.seq_first <= rule.seq_last),
                Err(error) => prop_assert!(error.len() > 20, "{error}"),
            }
        }
    }
}
