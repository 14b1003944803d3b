//! What becomes of echoes of other programs, on what a host may have seen of them.

use super::*;
use crate::{
    diagnosis::{diagnose, document::Outcome},
    model::{followed::SendingProcess, verdict::StopHost},
};

const NEAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
const SECOND: u64 = 1_000_000_000;

/// Returns echo `number` of the process `pid`, sent so many seconds after the first.
fn echo(number: u16, id: u16, pid: u32, second: u64) -> FollowedEcho {
    FollowedEcho {
        number,
        first_ns: (second + 1) * SECOND,
        near: NEAR,
        far: FAR,
        id,
        seq: number,
        sent_here: true,
        sender: Some(SendingProcess { program: "ping".into(), pid }),
        by_ping_socket: true,
    }
}

fn passages(numbers: &[u16], second: u64) -> BTreeMap<u16, ProbePassage> {
    let passage = |number: &u16| {
        let first_ns = (second + 1 + u64::from(*number)) * SECOND + 5;
        let passage =
            ProbePassage { first_ns, times: 1, source: Some(FAR), destination: Some(NEAR), ..Default::default() };
        (*number, passage)
    };
    numbers.iter().map(passage).collect()
}

/// Returns a host of which every hop is watched: requests went as far as `out`, and replies came as far as `back`.
fn host(hops: &[Hop], requests: &[u16], replies: &[u16]) -> HostTrace {
    let all = probe_ebpf::contract::hop::HOPS.iter().map(|row| {
        let passed = hops.contains(&row.hop);
        let outwards = row.hop <= Hop::Xmit;
        let legs =
            |wanted: bool, numbers: &[u16]| if passed && wanted { passages(numbers, 0) } else { BTreeMap::new() };
        let trace = HopTrace::Watched { requests: legs(outwards, requests), replies: legs(!outwards, replies) };
        (row.hop, trace)
    });
    let mut host = HostTrace { hops: all.collect(), ..HostTrace::default() };
    host.host.hostname = "a".into();
    host.host.interface = "eth0".into();
    host
}

const OUT: [Hop; 8] = [
    Hop::NfOutputFirst,
    Hop::NfOutputLast,
    Hop::NfPostroutingFirst,
    Hop::NfPostroutingLast,
    Hop::CgroupOut,
    Hop::TcOut,
    Hop::DevQueue,
    Hop::Xmit,
];

fn sight(host: &HostTrace, second: u64) -> Sight<'_> {
    Sight { host, errors: &[], until_ns: (second + 1) * SECOND, wait_ns: SECOND }
}

fn judged(flow: &FollowedFlow, host: &HostTrace, second: u64) -> crate::diagnosis::Diagnosis {
    let sight = sight(host, second);
    let run = FollowedRun { flows: vec![flow.told(sight)], ..FollowedRun::default() };
    diagnose(&evidence(flow, sight, host.clone(), run))
}

fn one(echoes: &[FollowedEcho]) -> FollowedFlow {
    let mut flows = flows::flows(echoes, |address| address == FAR && !echoes[0].sent_here);
    assert_eq!(flows.len(), 1, "{flows:#?}");
    flows.remove(0)
}

fn everywhere() -> Vec<Hop> {
    OUT.into_iter().chain(INTO_HOST).collect()
}

#[test]
fn an_echo_that_came_back_to_the_sockets_is_answered_whatever_the_program_read() {
    let flow = one(&(0..3).map(|number| echo(number, 7, 42, number.into())).collect::<Vec<_>>());
    let seen = host(&everywhere(), &[0, 1, 2], &[0, 1, 2]);
    let diagnosis = judged(&flow, &seen, 9);
    assert_eq!((diagnosis.verdict.outcome, diagnosis.sent, diagnosis.answered), (Outcome::Delivered, 3, 3));
    assert!(diagnosis.alterations.is_empty(), "{:?}", diagnosis.alterations);
    assert!(diagnosis.sides.local.blind.is_empty());
}

#[test]
fn one_that_may_still_be_answered_is_not_lost() {
    let flow = one(&(0..3).map(|number| echo(number, 7, 42, number.into())).collect::<Vec<_>>());
    let seen = host(&everywhere(), &[0, 1, 2], &[0]);
    // Number 1 was sent a second and a half ago, number 2 half a second ago.
    let diagnosis = {
        let sight = Sight { until_ns: 3 * SECOND + SECOND / 2, ..sight(&seen, 0) };
        let run = FollowedRun { flows: vec![flow.told(sight)], ..FollowedRun::default() };
        diagnose(&evidence(&flow, sight, seen.clone(), run))
    };
    assert_eq!((diagnosis.sent, diagnosis.answered), (2, 1));
    let told = &diagnosis.followed.as_ref().expect("followed").flows[0];
    assert_eq!((told.requests, told.answered, told.under_way, told.lost()), (3, 1, 1, 1));
    assert_eq!(diagnosis.stops[0].host, StopHost::Beyond);
}

#[test]
fn a_request_that_the_kernel_freed_need_not_be_waited_for() {
    let number = echo(0, 7, 42, 0);
    let mut seen = host(&[Hop::NfOutputFirst], &[0], &[]);
    assert_eq!(sight(&seen, 0).fate(&number, FollowedRole::Sender), Fate::UnderWay);
    assert_eq!(sight(&seen, 1).fate(&number, FollowedRole::Sender), Fate::Lost);
    seen.drops.push(freed(Echo::Request, "NETFILTER_DROP", "nft_do_chain"));
    assert_eq!(sight(&seen, 0).fate(&number, FollowedRole::Sender), Fate::Ended);
    seen.drops.clear();
    let error = IcmpError { probe: 0, from: FAR, icmp_type: 3, code: 1, next_mtu: None };
    let told = Sight { errors: std::slice::from_ref(&error), ..sight(&seen, 0) };
    assert_eq!(told.fate(&number, FollowedRole::Sender), Fate::Ended);
}

fn freed(leg: Echo, reason: &str, function: &str) -> Drop {
    Drop {
        time_ns: 1,
        probe: Some(0),
        leg,
        id: 7,
        seq: 0,
        reason: reason.into(),
        function: function.into(),
        stack: Vec::new(),
        interface: Some("eth0".into()),
        source: NEAR,
        destination: FAR,
        frame: crate::model::trace::FrameFacts::default(),
    }
}

#[test]
fn a_full_ping_socket_refuses_the_reply_and_a_raw_one_may_be_anothers() {
    let mut seen = host(&everywhere(), &[0], &[0]);
    seen.drops.push(freed(Echo::Reply, "SOCKET_RCVBUFF", "ping_rcv"));
    let by_ping = echo(0, 7, 42, 0);
    assert_eq!(sight(&seen, 9).fate(&by_ping, FollowedRole::Sender), Fate::Refused);
    let diagnosis = judged(&one(std::slice::from_ref(&by_ping)), &seen, 9);
    assert_eq!((diagnosis.verdict.outcome, diagnosis.answered), (Outcome::Stopped, 0));
    let by_raw = FollowedEcho { by_ping_socket: false, ..by_ping };
    assert!(matches!(sight(&seen, 9).fate(&by_raw, FollowedRole::Sender), Fate::Answered(_)));
}

#[test]
fn a_program_that_raises_the_ttl_step_by_step_loses_nothing_at_routers() {
    let flow = one(&(0..2).map(|number| echo(number, 7, 42, 0)).collect::<Vec<_>>());
    let mut seen = host(&everywhere(), &[0, 1], &[1]);
    let error = IcmpError { probe: 0, from: [10, 0, 0, 254].into(), icmp_type: 11, code: 0, next_mtu: None };
    let told = |seen: &HostTrace| flow.told(Sight { errors: std::slice::from_ref(&error), ..sight(seen, 9) });
    // Both with one TTL: it is too few.
    assert_eq!((told(&seen).walked, told(&seen).lost()), (0, 1));
    for hop in seen.hops.values_mut() {
        let HopTrace::Watched { requests, .. } = hop else { continue };
        requests.iter_mut().for_each(|(number, passage)| passage.ttl = 1 + *number as u8);
    }
    assert_eq!((told(&seen).walked, told(&seen).lost()), (1, 0));
    assert!(told(&seen).text("->").ends_with("2 requests, 1 answered, 1 for routers on the way"));
}

#[test]
fn two_programs_with_one_id_are_two_flows_and_one_that_runs_again_and_again_is_one() {
    let beside = [echo(0, 7, 42, 0), echo(1, 7, 43, 0), echo(2, 7, 42, 1), echo(3, 7, 43, 1)];
    let two = flows::flows(&beside, |_| false);
    let numbers: Vec<Vec<u16>> = two.iter().map(|flow| flow.echoes.iter().map(|echo| echo.number).collect()).collect();
    assert_eq!(numbers, [[0, 2], [1, 3]]);
    assert_eq!(two.iter().map(|flow| flow.sender.as_ref().map(|it| it.pid)).collect::<Vec<_>>(), [Some(42), Some(43)]);
    let again: Vec<FollowedEcho> = (0..4).map(|number| echo(number, 100 + number, 50 + u32::from(number), 0)).collect();
    let one = flows::flows(&again, |_| false);
    assert_eq!((one.len(), one[0].id, one[0].echoes.len()), (1, None, 4));
    assert!(one[0].sender.as_ref().is_some_and(|sender| sender.program == "ping" && sender.pid == 0));
}

#[test]
fn the_verdict_is_on_the_flow_that_loses_most() {
    let echoes: Vec<FollowedEcho> =
        (0..6).map(|number| echo(number, if number % 2 == 0 { 7 } else { 8 }, 42, 0)).collect();
    let mut flows = flows::flows(&echoes, |_| false);
    let seen = host(&everywhere(), &[0, 1, 2, 3, 4, 5], &[0, 2, 4, 1]);
    flows::worst_first(&mut flows, sight(&seen, 9));
    assert_eq!((flows[0].id, flows[0].told(sight(&seen, 9)).lost()), (Some(8), 2));
}

#[test]
fn what_comes_in_is_for_this_host_or_crosses_it() {
    let foreign = |number: u16| FollowedEcho { sent_here: false, sender: None, ..echo(number, 7, 0, 0) };
    let role = |own: bool| flows::flows(&[foreign(0)], |_| own)[0].role;
    assert_eq!((role(true), role(false)), (FollowedRole::Target, FollowedRole::Router));
    // For this host: taken in as far as its ICMP, and no reply was made.
    let into = [Hop::NetifIn, Hop::NfPreroutingFirst, Hop::NfPreroutingLast, Hop::NfInputFirst];
    let mut seen = host(&[], &[], &[]);
    for hop in into {
        let trace = HopTrace::Watched { requests: passages(&[0, 1], 0), replies: BTreeMap::new() };
        seen.hops.insert(hop, trace);
    }
    let diagnosis = judged(&one(&[foreign(0), foreign(1)]), &seen, 9);
    assert_eq!((diagnosis.verdict.outcome, diagnosis.stops[0].host), (Outcome::Stopped, StopHost::Local));
    assert_eq!(diagnosis.stops[0].place.hook(), Some(crate::model::netfilter::NetfilterHook::Input));
    assert!(diagnosis.stops[0].commands.iter().all(|command| !command.command.starts_with("probe diagnose")));
}

#[test]
fn where_nothing_was_seen_nothing_is_known() {
    let flow =
        FollowedFlow { role: FollowedRole::Sender, from: NEAR, to: FAR, sender: None, id: None, echoes: Vec::new() };
    let diagnosis = judged(&flow, &host(&[], &[], &[]), 9);
    assert_eq!((diagnosis.verdict.outcome, diagnosis.sent), (Outcome::Inconclusive, 0));
    assert!(diagnosis.verdict.sentence.starts_with("No echo request was seen"), "{}", diagnosis.verdict.sentence);
}
