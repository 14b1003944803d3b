//! Adding, listing and removing rules: numbers, refusals, and many at once.

use nix::sys::signal::Signal;
use probe_ebpf::Rule;
use probe_user::{
    clock::monotonic_ns,
    ebpf::{
        bpf_sys::{ProgramType, XdpMode, always, link_xdp, load_program},
        pins::{Changing, FilterHook, Pinned},
    },
    filter::rules::RuleSet,
    host::device::Device,
    model::attach::Attach,
};
use serde_json::json;

use super::host::{HOME, expect_bare, folders, list, numbers, replies, send};
use crate::common::{
    is_root,
    net::{Pair, own_bpffs, programs, sh},
    run::{Ran, Running, command, probe},
};

fn refused(ran: &Ran) -> &str {
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (2, "", 1), "{ran:?}");
    &ran.stderr
}

#[test]
fn a_rule_is_listed_as_it_was_added() {
    if !is_root("a_rule_is_listed_as_it_was_added") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    assert_eq!(probe(&pair.b, "filter list").done().stdout, "no rules in this network namespace\n");
    probe(&pair.b, "filter add -I vb -e 0x2b --type reply -4 --for 3600").done();
    probe(&pair.b, "filter add -I lo --all-echo").done();
    let rules = list(&pair.b);
    let of = |index: usize, names: [&str; 5]| names.map(|name| rules[index][name].clone());
    let names = ["interface", "number", "direction", "action", "added_by_uid"];
    assert_eq!(of(0, names), [json!("lo"), json!(1), json!("in"), json!("drop"), json!(0)]);
    assert_eq!(of(1, names), [json!("vb"), json!(1), json!("in"), json!("drop"), json!(0)]);
    let matches = |types: &str, ids: [u16; 2], family: Option<u8>| {
        json!({
            "type": types, "id_first": ids[0], "id_last": ids[1], "family": family,
            "seq": null, "payload_bytes": null, "source": null, "destination": null, "inner": false,
        })
    };
    assert_eq!(rules[0]["match"], matches("both", [0, 65535], None));
    assert_eq!(rules[1]["match"], matches("reply", [43, 43], Some(4)));
    assert_eq!(rules[0]["expires_in_s"], json!(null));
    assert!(rules[1]["expires_in_s"].as_u64().is_some_and(|left| (3_500..=3_600).contains(&left)));
    let only = probe(&pair.b, "filter list -I vb --format json").done();
    assert_eq!(super::host::rules(&only).len(), 1);
    let text = probe(&pair.b, "filter list").done().stdout;
    assert!(text.contains("vb         in   replies, id 43 (0x2b), IPv4  drops"), "{text}");
    let both = probe(&pair.b, "filter remove 1");
    assert!(refused(&both).contains("several interfaces have a rule 1: lo, vb — say which, as in -I lo"), "{both:?}");
    probe(&pair.b, "filter remove 1 -I lo").done();
    assert_eq!(list(&pair.b).len(), 1);
    let cleared = probe(&pair.b, "filter clear").done();
    assert_eq!(cleared.stderr, "probe: removed the filter of 1 interface\n");
    expect_bare(&pair.b, "vb");
    expect_bare(&pair.b, "lo");
}

#[test]
fn twenty_at_once_make_twenty_rules() {
    if !is_root("twenty_at_once_make_twenty_rules") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let adding: Vec<Running> =
        (0..20).map(|id| Running::of(command(&pair.b, &format!("filter add -I vb -e {id} --format json")))).collect();
    // Whoever lists meanwhile sees some of them, and no error.
    let mut seen = 0;
    while seen < 20 {
        let now = list(&pair.b).len();
        assert!(now >= seen);
        seen = now;
    }
    for running in adding {
        assert_eq!(running.wait().done().stderr, "");
    }
    let rules = list(&pair.b);
    assert_eq!(numbers(&rules), (1..=20).collect::<Vec<u64>>());
    let mut ids: Vec<_> = rules.iter().filter_map(|rule| rule["match"]["id_first"].as_u64()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..20).collect::<Vec<u64>>());
    send(&pair, &[replies(0, 3), replies(19, 3), replies(20, 3)].concat(), 6);
    let removing: Vec<Running> =
        (1..=20).map(|number| Running::of(command(&pair.b, &format!("filter remove {number}")))).collect();
    for running in removing {
        running.wait().done();
    }
    expect_bare(&pair.b, "vb");
}

#[test]
fn the_257th_rule_is_refused_until_one_has_ended() {
    if !is_root("the_257th_rule_is_refused_until_one_has_ended") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let fill = |ended: bool| {
        let changing = Changing::begin().expect("the lock");
        let device = Device::find("vb").expect("vb");
        let deadline_ns = if ended { monotonic_ns() } else { 0 };
        let mut rules = vec![Rule { id_first: 1, id_last: 1, kinds: 0b1111, ..Rule::default() }; 256];
        (1..).zip(&mut rules).for_each(|(number, rule)| rule.number = number);
        rules[0].deadline_ns = deadline_ns;
        let set = RuleSet::new(rules, 256);
        Pinned::create(&device, FilterHook::Xdp, Attach::default(), &set, &changing).expect("a filter");
    };
    pair.b.run(|| fill(false)).expect("the namespace is there");
    let ran = probe(&pair.b, "filter add -I vb -e 7");
    assert!(refused(&ran).contains("this interface has 256 rules already"), "{ran:?}");
    send(&pair, &replies(7, 3), 0);
    probe(&pair.b, "filter clear").done();
    pair.b.run(|| fill(true)).expect("the namespace is there");
    probe(&pair.b, "filter add -I vb -e 7").done();
    assert_eq!(numbers(&list(&pair.b)), (2..=257).collect::<Vec<u64>>());
    send(&pair, &replies(7, 3), 3);
    probe(&pair.b, "filter clear").done();
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    if !is_root("what_cannot_be_is_refused_and_leaves_nothing") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let off = probe(&pair.b, "filter add -I vb -e 7 --xdp off");
    assert!(refused(&off).contains("no XDP on vb: --xdp off asks for it"), "{off:?}");
    let native = probe(&pair.b, "filter add -I lo -e 7 --xdp native");
    assert!(refused(&native).contains("'lo' has no native XDP"), "{native:?}");
    let nothing = probe(&pair.b, "filter remove 7");
    assert!(refused(&nothing).contains("there is no rule 7 — probe filter list shows the rules"), "{nothing:?}");
    expect_bare(&pair.b, "vb");

    let observer = Running::start(&pair.b, "observe -I vb --xdp generic");
    let held = probe(&pair.b, "filter add -I vb -e 7");
    let told = ["another XDP program is on vb", "'probe_xdp_gen', generic)", "a probe that watches there holds XDP"];
    assert!(told.iter().all(|part| refused(&held).contains(part)), "{held:?}");
    assert_eq!(folders(), [""; 0]);
    // Killed, it would leave its clsact filter where the kernel has no TCX.
    observer.end_with(Signal::SIGINT);

    let foreign = pair.b.run(|| {
        let program = load_program(ProgramType::Xdp, "somebody", &always(2)).expect("a program");
        link_xdp(program, Device::find("vb").expect("vb").ifindex, XdpMode::Generic).expect("the place is free")
    });
    let held = probe(&pair.b, "filter add -I vb -e 7");
    let told = ["'somebody', generic)", "ip link set dev vb xdp off"];
    assert!(told.iter().all(|part| refused(&held).contains(part)), "{held:?}");
    assert_eq!((programs(&pair.b, "vb").len(), folders().len()), (1, 0));
    drop(foreign);
}

#[test]
fn rules_of_one_interface_share_one_mode() {
    if !is_root("rules_of_one_interface_share_one_mode") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    probe(&pair.b, "filter add -I vb -e 7 --xdp generic").done();
    probe(&pair.b, "filter add -I vb -e 8 --xdp generic").done();
    probe(&pair.b, "filter add -I vb -e 9").done();
    let native = probe(&pair.b, "filter add -I vb -e 10 --xdp native");
    let told = "vb has a filter already, and its XDP is generic, not native — leave out --hook, --xdp and --tc, or start over: probe filter clear -I vb";
    assert!(refused(&native).contains(told), "{native:?}");
    assert_eq!(list(&pair.b).len(), 3);
    probe(&pair.b, "filter clear -I vb").done();
}

#[test]
fn a_filter_of_another_build_is_refused_with_both_numbers_and_can_be_cleared() {
    if !is_root("a_filter_of_another_build_is_refused_with_both_numbers_and_can_be_cleared") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    probe(&pair.b, "filter add -I vb -e 7").done();
    sh(&pair.b, &format!("cd {HOME}; for old in filter-*; do mv $old filter-999-${{old#filter-*-}}; done"));
    let ours = probe_ebpf::ABI_VERSION;
    for words in ["filter list", "filter list -I vb", "filter add -I vb -e 8", "filter remove 1"] {
        let ran = probe(&pair.b, words);
        let told = format!(
            "the filter on vb was made by another build of probe (ABI 999, this one has {ours}) — remove it: probe filter clear -I vb"
        );
        assert!(refused(&ran).contains(&told), "{words}: {ran:?}");
    }
    probe(&pair.b, "filter clear -I vb").done();
    expect_bare(&pair.b, "vb");
    probe(&pair.b, "filter add -I vb -e 8").done();
    probe(&pair.b, "filter clear").done();
}
