//! The next hop's neighbour entry, and whose an address is.

use probe_ebpf::{Echo, Family};
use probe_user::{
    lab::{LabHost, Nic},
    model::trace::Finding,
};

use super::bench::{found, lab, nft, run, send, warm_up};

/// The state of the next hop's entry, and whether the entry is that of `wanted` at `eth0`.
fn state(findings: &[Finding], wanted: Nic, family: Family) -> Option<String> {
    findings.iter().find_map(|finding| match finding {
        Finding::Neighbour { address, interface, state, .. } => {
            assert_eq!((*address, interface.as_str()), (wanted.address(family), "eth0"));
            Some(state.clone())
        }
        _ => None,
    })
}

#[test]
fn a_gateway_that_answers_is_known_and_one_that_does_not_is_told() {
    let Some(lab) = lab("a_gateway_that_answers_is_known_and_one_that_does_not_is_told") else { return };
    warm_up(&lab);
    for family in lab.families() {
        let known = state(&found(&lab, LabHost::A, *family, || ()), Nic::FwA, *family);
        let known = known.unwrap_or_else(|| panic!("{family:?}: no entry"));
        assert!(["REACHABLE", "STALE", "DELAY", "PROBE"].contains(&known.as_str()), "{family:?}: {known}");
    }
    nft(
        lab.netns(LabHost::Fw),
        "table netdev quiet { chain ingress { type filter hook ingress device \"a\" priority 0; \
         meta protocol arp drop; icmpv6 type nd-neighbor-solicit drop; }\n}\n",
    );
    for family in lab.families() {
        let flag = if *family == Family::V4 { "-4" } else { "-6" };
        let gateway = Nic::FwA.address(*family);
        run(lab.netns(LabHost::A), &format!("ip {flag} neigh del {gateway} dev eth0"));
        let findings = found(&lab, LabHost::A, *family, || {
            send(&lab, LabHost::A, LabHost::B, *family, Echo::Request, 3);
        });
        let unknown = state(&findings, Nic::FwA, *family);
        assert!(unknown.as_deref().is_some_and(|state| ["INCOMPLETE", "FAILED"].contains(&state)), "{unknown:?}");
    }
}

#[test]
fn an_address_is_the_hosts_own_until_it_is_taken_away() {
    let Some(lab) = lab("an_address_is_the_hosts_own_until_it_is_taken_away") else { return };
    let own = |family| {
        found(&lab, LabHost::B, family, || ()).into_iter().find_map(|finding| match finding {
            Finding::Address { address, own } => {
                assert_eq!(address, LabHost::B.address(family));
                Some(own)
            }
            _ => None,
        })
    };
    for family in lab.families() {
        let (flag, bits) = if *family == Family::V4 { ("-4", 24) } else { ("-6", 64) };
        assert_eq!(own(*family), Some(true), "{family:?}");
        run(lab.netns(LabHost::B), &format!("ip {flag} addr del {}/{bits} dev eth0", LabHost::B.address(*family)));
        assert_eq!(own(*family), Some(false), "{family:?}");
    }
}
