//! Programs at a device: other people's, and probe's own filter.

use std::fs::File;

use probe_ebpf::{Direction, Echo, Family};
use probe_user::{
    ebpf::bpf_sys::{ProgramType, XdpMode, always, link_cgroup, link_xdp, load_program},
    host::{
        cgroup,
        device::{Device, tc_filters},
    },
    lab::{LabHost, Topology, attach_tc_program, tc_program::attach_filter},
    model::trace::Finding,
};

use super::bench::{found, lab, run, send, settle, warm_up};
use crate::common::net::eventually;

/// Place, who, whether it is probe's filter, and what that dropped.
fn programs(findings: Vec<Finding>) -> Vec<(String, String, bool, u64)> {
    let program = |finding| match finding {
        Finding::Program { at, who, probe_filter, dropped } if !at.name().starts_with("cgroup") => {
            Some((at.name().to_owned(), who, probe_filter, dropped))
        }
        _ => None,
    };
    findings.into_iter().filter_map(program).collect()
}

#[test]
fn other_peoples_programs_are_told_with_their_place() {
    let Some(lab) = lab("other_peoples_programs_are_told_with_their_place") else { return };
    let told = || programs(found(&lab, LabHost::B, Family::V4, || ()));
    assert_eq!(told(), []);
    let attach = || {
        let device = Device::find("eth0").expect("B has it").ifindex;
        // XDP_PASS, TCX_NEXT
        let xdp = load_program(ProgramType::Xdp, "others_xdp", &always(2)).expect("a program");
        let tc = load_program(ProgramType::Tc, "others_tc", &always(-1)).expect("a program");
        let xdp = link_xdp(xdp, device, XdpMode::Generic).expect("a link");
        (xdp, [Direction::In, Direction::Out].map(|way| attach_tc_program(&tc, device, way).expect("attached")))
    };
    let links = lab.netns(LabHost::B).run(attach).expect("inside");
    let found = told();
    let places: Vec<_> = found.iter().map(|(at, ..)| at.as_str()).collect();
    assert_eq!(places, ["xdp", "tc_in", "tc_out"], "{found:?}");
    assert!(found[0].1.contains("'others_xdp', generic") && !found[0].2, "{found:?}");
    drop(links);
    remove_filters(&lab);
    // A program that another test starts just now may hold the links until its exec closes them.
    eventually("nothing is attached any more", || told().is_empty());
}

#[test]
fn filters_of_kernels_without_tcx_are_told_like_its_programs() {
    let Some(lab) = lab("filters_of_kernels_without_tcx_are_told_like_its_programs") else { return };
    let attach = || {
        let device = Device::find("eth0").expect("B has it").ifindex;
        let tc = load_program(ProgramType::Tc, "others_tc", &always(-1)).expect("a program");
        for way in [Direction::In, Direction::Out] {
            attach_filter(&tc, device, way).expect("attached");
        }
    };
    lab.netns(LabHost::B).run(attach).expect("inside");
    let found = programs(found(&lab, LabHost::B, Family::V4, || ()));
    let places: Vec<_> = found.iter().map(|(at, _, own, _)| (at.as_str(), *own)).collect();
    assert_eq!(places, [("tc_in", false), ("tc_out", false)], "{found:?}");
    assert!(found[0].1.starts_with("tc program (id "), "{found:?}");
}

/// Takes away what [`attach_tc_program`] leaves on a kernel without TCX.
fn remove_filters(lab: &Topology) {
    let remove = || {
        let device = Device::find("eth0").expect("B has it").ifindex;
        if tc_filters::has_qdisc(device).expect("netlink answers") {
            tc_filters::remove_clsact(device).expect("it is there");
        }
    };
    lab.netns(LabHost::B).run(remove).expect("inside");
}

#[test]
fn a_cgroup_program_is_told_and_probes_own_are_not() {
    let Some(lab) = lab("a_cgroup_program_is_told_and_probes_own_are_not") else { return };
    let Some(root) = cgroup::root() else {
        crate::common::skip("a_cgroup_program_is_told_and_probes_own_are_not", "cgroup2");
        return;
    };
    let told = |name: &str| {
        let findings = found(&lab, LabHost::B, Family::V4, || ());
        let named = |finding: &&Finding| matches!(finding, Finding::Program { at, who, .. } if at.name() == "cgroup_in" && who.contains(name));
        findings.iter().filter(named).count()
    };
    // Both let everything pass, like all programs of probe there.
    let attach = |name: &str| {
        let program = load_program(ProgramType::CgroupSkb, name, &always(1)).expect("a program");
        link_cgroup(program, File::open(&root).expect("the root"), Direction::In).expect("a link")
    };
    let links = [attach("others_cgroup"), attach("probe_cg_test")];
    assert_eq!((told("others_cgroup"), told("probe_cg_test")), (1, 0));
    drop(links);
    assert_eq!(told("others_cgroup"), 0);
}

#[test]
fn probes_own_filter_tells_what_it_dropped_of_the_run() {
    let Some(lab) = lab("probes_own_filter_tells_what_it_dropped_of_the_run") else { return };
    warm_up(&lab);
    let probe = env!("CARGO_BIN_EXE_probe");
    let places = [
        ("xdp", "--type request"),
        ("tc_in", "--type request --hook tc"),
        // B's answers to what A asks.
        ("tc_out", "--type reply --direction out"),
    ];
    for (at, flags) in places {
        run(lab.netns(LabHost::B), &format!("{probe} filter add -I eth0 {flags} --id 0x4242 --seq 9999"));
        run(lab.netns(LabHost::B), &format!("{probe} filter add -I eth0 {flags} --id 0x4242"));
        let result = std::panic::catch_unwind(|| count_what_the_filter_drops(&lab, at));
        run(lab.netns(LabHost::B), &format!("{probe} filter clear -I eth0"));
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

fn count_what_the_filter_drops(lab: &Topology, at: &str) {
    assert!(send(lab, LabHost::A, LabHost::B, Family::V4, Echo::Request, 2));
    settle();
    let findings = found(lab, LabHost::B, Family::V4, || {
        assert!(send(lab, LabHost::A, LabHost::B, Family::V4, Echo::Request, 3));
        settle();
    });
    let expected = (at.to_owned(), "probe's own filter on eth0 (rule 2)".to_owned(), true, 3);
    assert_eq!(programs(findings), [expected]);
}
