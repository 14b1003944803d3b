//! A timeline played at two ends: through the lab's firewall, with the real agent and the real kernel half. Needs root.

use std::{
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    time::Duration,
};

use probe_ebpf::Family;
use probe_user::{
    attach::Attach,
    experiment::{builtin, outcome, plan},
    kernel::path_watch,
    lab::{Host, Topology},
    peer::{Peer, Wish},
    player::{Played, Player, Whole},
    stop::Stop,
    timeline::{EchoId, Ends, Goal, Message, Quote, Shot, Side, Timeline},
};

/// Meets the agent on B, from A, and plays the built-in experiment with this name.
fn play(lab: &Topology, name: &str, family: Family) -> (outcome::Outcome, Played) {
    let script = builtin::named(name).expect("built in");
    let mut id = 0x4000;
    let plan = plan::plan(&script, || {
        id += 1;
        id
    });
    let played = play_timeline(lab, &plan.timeline, family);
    let names = outcome::Names { near: "a".into(), far: "b".into() };
    (outcome::judge(&script, &plan, &played.run, &names), played)
}

fn play_timeline(lab: &Topology, timeline: &Timeline, family: Family) -> Played {
    let b = lab.netns(Host::B).as_fd().as_raw_fd();
    let agent = format!("nsenter --net=/proc/{}/fd/{b} {} agent", std::process::id(), env!("CARGO_BIN_EXE_probe"));
    lab.netns(Host::A)
        .run(|| {
            let stop = Stop::default();
            let mut peer = Peer::start(Wish::new(agent), &stop, Arc::new(|line: &str| println!("peer: {line}")))
                .expect("an agent");
            peer.greet().expect("a hello");
            let ends = Ends { near: vec![Host::A.address(family)], far: vec![Host::B.address(family)] };
            let mut player = Player {
                factory: path_watch::start,
                peer,
                interface: "eth0".into(),
                attach: Attach::default(),
                ends,
                stop,
            };
            player.meet().expect("a far end that watches");
            player.play(timeline, &mut |_| ()).expect("played")
        })
        .expect("A's namespace")
}

#[test]
fn the_seeds_experiments_come_out_as_designed_through_a_security_group() {
    if !crate::common::is_root("the_seeds_experiments_come_out_as_designed_through_a_security_group") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    for (name, family) in [("id-mismatch", Family::V4), ("many-replies", Family::V6), ("reply-only", Family::V4)] {
        let (outcome, played) = play(&lab, name, family);
        assert!(outcome.as_expected, "{name}: {}\n{:#?}", outcome.finding, played.run);
        assert_eq!(played.whole, Whole::Yes);
        assert!(played.run.landings.iter().all(|landing| landing.left == Some(true)), "{name}: {:#?}", played.run);
    }
}

#[test]
fn an_error_arrives_where_the_firewall_knows_what_it_quotes() {
    if !crate::common::is_root("an_error_arrives_where_the_firewall_knows_what_it_quotes") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    let at = Duration::from_millis;
    let request = Shot::new(at(0), Side::Near, Message::Request, EchoId::Fixed(0x5001));
    let related = Shot {
        code: 1,
        destination: Goal::SourceOfArrived(0),
        ..Shot::new(at(150), Side::Far, Message::Error(Quote::Shot(0)), EchoId::OfArrived(0))
    };
    let alien = Shot { code: 1, ..Shot::new(at(160), Side::Far, Message::Error(Quote::Never), EchoId::Fixed(0x5002)) };
    let timeline = Timeline { shots: vec![request, related, alien], linger: at(300) };
    for family in [Family::V4, Family::V6] {
        let run = play_timeline(&lab, &timeline, family).run;
        let arrived: Vec<usize> = run.landings.iter().map(|landing| landing.arrived.len()).collect();
        assert_eq!(arrived, [1, 1, 0], "{family:?}: {run:#?}");
        assert_eq!(run.landings[1].arrived[0].id, 0x5001);
    }
}

/// `probe experiment WORDS` on A, with the agent on B.
fn experiment(lab: &Topology, words: &[&str]) -> (Option<i32>, String, String) {
    let b = lab.netns(Host::B).as_fd().as_raw_fd();
    let program = env!("CARGO_BIN_EXE_probe");
    let agent = format!("nsenter --net=/proc/{}/fd/{b} {program} agent", std::process::id());
    let mut command = lab.netns(Host::A).command(program);
    let output = command.arg("experiment").args(words).args(["--peer", &agent]).output().expect("probe starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_verb_answers_the_seeds_question_and_says_where_the_case_stopped() {
    if !crate::common::is_root("the_verb_answers_the_seeds_question_and_says_where_the_case_stopped") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    let b = Host::B.address(Family::V4).to_string();
    let (code, text, stderr) = experiment(&lab, &["id-mismatch", &b]);
    println!("{text}{stderr}");
    assert_eq!(code, Some(0), "{text}{stderr}");
    assert!(text.contains("keys its state on"), "{text}");
    let (code, json, stderr) = experiment(&lab, &["normal", &b, "--repeat", "1", "--format", "json"]);
    assert_eq!(code, Some(0), "{json}{stderr}");
    let json: serde_json::Value = serde_json::from_str(&json).expect("one document");
    assert_eq!((&json["schema"], &json["as_expected"]), (&"probe.experiment/1".into(), &true.into()));
    assert_eq!(json["stops"][0]["host"], "network", "{json}");
}
