//! From a script to the timeline that runs it: every repetition with ids of its own, interleaved.

use std::{collections::BTreeMap, time::Duration};

use super::script::{Address, Script, ScriptPacket, ScriptStep, Sends};
use crate::middlebox::timeline::{EchoId, Endpoint, ErrorQuote, Goal, TimedPacket, Timeline, TimelinePacket};

/// Time between two steps, so that what builds on an arrival finds it.
pub const GAP: Duration = Duration::from_millis(100);

/// How much later each repetition starts, where repetitions cannot disturb each other.
const STAGGER: Duration = Duration::from_millis(30);

/// How long after the last packet arrivals still count.
pub const LINGER: Duration = Duration::from_secs(1);

/// A timeline, and what each of its packets is in the script.
#[derive(Clone, Debug, PartialEq)]
pub struct ExperimentPlan {
    /// What is run.
    pub timeline: Timeline,
    /// By packet.
    pub origins: Vec<PacketOrigin>,
    /// The numbers of the ids, by repetition and name.
    pub ids: Vec<BTreeMap<String, u16>>,
}

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PacketOrigin {
    /// The repetition, from 0 on.
    pub repetition: u16,
    /// The step's place in [`Script::steps`].
    pub step: usize,
}

/// A packet of one repetition before the repetitions are interleaved.
struct Draft {
    at: Duration,
    origin: PacketOrigin,
    /// Its place among the packets of its repetition.
    place: usize,
    /// The packet of the same repetition that its id or quotation comes from.
    needs: Option<usize>,
    number: u16,
    /// Its place among the packets of its step.
    packet: u16,
}

/// Plans the timeline of all repetitions of `script`. `fresh` returns an unused id, a new one at each call.
pub fn plan(script: &Script, mut fresh: impl FnMut() -> u16) -> ExperimentPlan {
    let ids: Vec<BTreeMap<String, u16>> = (0..script.repeat).map(|_| numbers(script, &mut fresh)).collect();
    let stagger = stagger(script);
    let mut drafts: Vec<Draft> = (0..script.repeat)
        .zip(&ids)
        .flat_map(|(repetition, ids)| drafts(script, repetition, stagger * u32::from(repetition), ids))
        .collect();
    drafts.sort_by_key(|draft| (draft.at, draft.origin.repetition, draft.place));
    let places: BTreeMap<(u16, usize), usize> =
        drafts.iter().enumerate().map(|(packet, draft)| ((draft.origin.repetition, draft.place), packet)).collect();
    let packets = drafts.iter().map(|draft| {
        let needs = draft.needs.map(|place| places[&(draft.origin.repetition, place)]);
        timed_packet(sends(script, draft.origin.step), draft, needs)
    });
    let timeline = Timeline { packets: packets.collect(), linger: LINGER };
    ExperimentPlan { timeline, origins: drafts.iter().map(|draft| draft.origin).collect(), ids }
}

/// Returns the time between the starts of two repetitions. Those with the same ids would disturb each other, so they
/// run one after the other.
fn stagger(script: &Script) -> Duration {
    if script.fixed.is_empty() { STAGGER } else { length(script) + LINGER }
}

/// Returns how long one repetition takes.
pub fn length(script: &Script) -> Duration {
    script.steps.iter().map(|step| lasts(step) + GAP).sum()
}

fn lasts(step: &ScriptStep) -> Duration {
    match step {
        ScriptStep::Wait(time) => *time,
        ScriptStep::Send(sends) => sends.interval * u32::from(sends.count - 1),
    }
}

fn numbers(script: &Script, fresh: &mut impl FnMut() -> u16) -> BTreeMap<String, u16> {
    let mut numbers = script.fixed.clone();
    for (_, sends) in script.sends() {
        numbers.entry(sends.id.clone()).or_insert_with(&mut *fresh);
    }
    numbers
}

fn drafts(script: &Script, repetition: u16, start: Duration, ids: &BTreeMap<String, u16>) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::new();
    // The first packet that an end sent with an id: what the other end does with that id follows it.
    let mut first: BTreeMap<(&str, Endpoint), usize> = BTreeMap::new();
    let mut at = start;
    for (step, doing) in script.steps.iter().enumerate() {
        if let ScriptStep::Send(sends) = doing {
            let needs = first.get(&(sends.id.as_str(), sends.from.other())).copied();
            first.entry((&sends.id, sends.from)).or_insert(drafts.len());
            for packet in 0..sends.count {
                let place = drafts.len();
                let (at, origin) = (at + sends.interval * u32::from(packet), PacketOrigin { repetition, step });
                drafts.push(Draft { at, origin, place, needs, number: ids[&sends.id], packet });
            }
        }
        at += lasts(doing) + GAP;
    }
    drafts
}

fn sends(script: &Script, step: usize) -> &Sends {
    match &script.steps[step] {
        ScriptStep::Send(sends) => sends,
        ScriptStep::Wait(_) => unreachable!("only steps that send have drafts"),
    }
}

fn timed_packet(sends: &Sends, draft: &Draft, needs: Option<usize>) -> TimedPacket {
    let message = match sends.packet {
        ScriptPacket::Request => TimelinePacket::Request,
        ScriptPacket::Reply => TimelinePacket::Reply,
        ScriptPacket::Error => TimelinePacket::Error(needs.map_or(ErrorQuote::Never, ErrorQuote::Packet)),
    };
    let id = needs.map_or(EchoId::Fixed(draft.number), EchoId::OfArrived);
    let destination = match sends.destination {
        Address::First => needs.map_or(Goal::First, Goal::SourceOfArrived),
        Address::Second => Goal::Second,
    };
    TimedPacket {
        seq: sends.seq.wrapping_add(draft.packet),
        code: sends.code,
        size: sends.size,
        ttl: sends.ttl,
        source: sends.source,
        destination,
        ..TimedPacket::new(draft.at, sends.from, message, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::experiment::builtin;

    fn planned(name: &str) -> (Script, ExperimentPlan) {
        let script = builtin::named(name).expect(name);
        let plan = plan(&script, (1000..).into_fresh());
        (script, plan)
    }

    trait IntoFresh: Iterator<Item = u16> + Sized {
        fn into_fresh(mut self) -> impl FnMut() -> u16 {
            move || self.next().expect("ids enough")
        }
    }

    impl<I: Iterator<Item = u16>> IntoFresh for I {}

    #[test]
    fn every_built_in_experiment_makes_a_timeline_that_can_be_run() {
        for (name, _) in builtin::TEXTS {
            let (script, plan) = planned(name);
            assert_eq!(plan.timeline.fault(), None, "{name}");
            assert_eq!(plan.timeline.packets.len(), script.packets() * usize::from(script.repeat), "{name}");
            assert_eq!(plan.origins.len(), plan.timeline.packets.len());
        }
    }

    #[test]
    fn a_repetition_has_ids_of_its_own_and_shares_the_second_with_the_others() {
        let (_, plan) = planned("id-mismatch");
        let mut numbers: Vec<u16> = plan.ids.iter().flat_map(|ids| ids.values().copied()).collect();
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
        let first_three: Vec<u16> = plan.origins.iter().take(3).map(|origin| origin.repetition).collect();
        assert_eq!(first_three, [0, 1, 2]);
        assert!(plan.timeline.length() < Duration::from_secs(2));
    }

    #[test]
    fn what_answers_a_packet_takes_the_id_and_the_way_back_from_its_arrival() {
        let (_, plan) = planned("id-mismatch");
        let of = |step: usize| plan.origins.iter().position(|origin| origin.step == step && origin.repetition == 1);
        let request = of(0).expect("a request");
        let control = &plan.timeline.packets[of(2).expect("the control")];
        assert_eq!((control.id, control.destination), (EchoId::OfArrived(request), Goal::SourceOfArrived(request)));
        let case = &plan.timeline.packets[of(1).expect("the case")];
        assert_eq!((case.id, case.destination), (EchoId::Fixed(plan.ids[1]["Y"]), Goal::First));
    }

    #[test]
    fn packets_of_a_step_count_up_and_wait_for_each_other() {
        let (_, plan) = planned("many-replies");
        let more: Vec<_> = (0..plan.origins.len())
            .filter(|packet| plan.origins[*packet] == PacketOrigin { repetition: 0, step: 2 })
            .map(|packet| (plan.timeline.packets[packet].seq, plan.timeline.packets[packet].at))
            .collect();
        assert_eq!(more.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(more.windows(2).all(|pair| pair[1].1 - pair[0].1 == Duration::from_millis(10)));
    }

    #[test]
    fn repetitions_with_the_same_ids_come_one_after_the_other() {
        let mut script = builtin::named("reply-only").expect("built in");
        script.fixed.insert("X".into(), 7);
        let plan = plan(&script, (1000..).into_fresh());
        assert!(plan.origins.windows(2).all(|pair| pair[0].repetition <= pair[1].repetition));
        assert_eq!(plan.timeline.fault(), None);
    }
}
