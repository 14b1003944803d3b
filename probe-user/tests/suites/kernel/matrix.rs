//! Every job that a command can ask for passes the verifier, and what the kernel then shows has probe's names.

use std::collections::BTreeSet;

use aya::maps::MapInfo;
use probe_ebpf::{Hop, names, packet::LinkLayer};
use probe_user::ebpf::load::{Capture, Job, Rows, Switch, load, load_with};

use super::{loaded::ALL_HOPS, ready::ready};

const SWITCHES: [Switch; 2] = [Switch::Off, Switch::On];
const CAPTURES: [Capture; 3] = [Capture::Nothing, Capture::Everything, Capture::Matched];

/// Every combination of what the programs can do.
pub(crate) fn jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    for link_layer in [LinkLayer::Ethernet, LinkLayer::RawIp] {
        for track in SWITCHES {
            for filter in SWITCHES {
                for capture in CAPTURES {
                    jobs.push(Job { link_layer, track, filter, capture, ifindex: 1, ..Job::count(&ALL_HOPS) });
                }
            }
        }
    }
    jobs
}

#[test]
fn the_verifier_takes_every_combination_of_track_filter_and_capture() {
    if !ready("the_verifier_takes_every_combination_of_track_filter_and_capture") {
        return;
    }
    for job in jobs() {
        load(&job).unwrap_or_else(|error| panic!("{job:?}: {error}"));
        let rows = Rows { count: 1, shared: Switch::On };
        load_with(&job, rows).unwrap_or_else(|error| panic!("{job:?} with {rows:?}: {error}"));
    }
}

#[test]
fn a_job_loads_the_programs_of_its_hops_only() {
    if !ready("a_job_loads_the_programs_of_its_hops_only") {
        return;
    }
    for hops in [&[Hop::XdpIn][..], &[Hop::TcOut, Hop::TcIn], &[]] {
        let programs = load(&Job::count(hops)).expect("the kernel takes them");
        for (name, program) in programs.programs() {
            let wanted = hops.iter().any(|hop| hop.row().program == name);
            assert_eq!(program.fd().is_ok(), wanted, "{name} for {hops:?}");
        }
    }
}

#[test]
fn the_kernel_shows_the_names_of_the_contract_and_no_others() {
    if !ready("the_kernel_shows_the_names_of_the_contract_and_no_others") {
        return;
    }
    let programs = load(&Job::count(&ALL_HOPS)).expect("the kernel takes them");
    let mut shown: BTreeSet<String> = programs.maps().map(|(name, _)| name.to_owned()).collect();
    for (name, program) in programs.programs() {
        shown.insert(name.to_owned());
        let Ok(info) = program.info() else { continue };
        assert_eq!(info.name_as_str(), Some(name), "the kernel shows it whole");
        for id in info.map_ids().expect("it can be asked").expect("the kernel tells") {
            let map = MapInfo::from_id(id).expect("it is there");
            let name = map.name_as_str().expect("text");
            assert!(name.starts_with(".rodata") || shown.contains(name), "{name} is shown whole");
        }
    }
    // The frozen globals, and the ring of the log: aya names them.
    shown.retain(|name| !name.starts_with(".rodata") && !name.starts_with("AYA_LOG"));
    let contract: BTreeSet<String> = names::ALL.into_iter().map(str::to_owned).collect();
    assert_eq!(shown, contract);
    assert!(shown.iter().all(|name| name.len() <= names::NAME_LIMIT));
}
