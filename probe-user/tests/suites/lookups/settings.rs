//! Settings and routes.

use probe_ebpf::Family;
use probe_user::{lab::LabHost, model::trace::Finding};

use super::bench::{found, lab, run, set};

fn value(findings: &[Finding], wanted: &str) -> Option<String> {
    findings.iter().find_map(|finding| match finding {
        Finding::Setting { path, value } if path == wanted => Some(value.clone()),
        _ => None,
    })
}

#[test]
fn a_setting_is_told_as_it_is_in_that_namespace() {
    let Some(lab) = lab("a_setting_is_told_as_it_is_in_that_namespace") else { return };
    let rows = [
        (Family::V4, "net/ipv4/icmp_echo_ignore_all"),
        (Family::V6, "net/ipv6/icmp/echo_ignore_all"),
        (Family::V4, "net/ipv4/conf/eth0/rp_filter"),
        (Family::V4, "net/ipv4/conf/all/accept_local"),
        (Family::V6, "net/ipv6/conf/eth0/forwarding"),
    ];
    for (family, path) in rows.into_iter().filter(|(family, _)| lab.families().contains(family)) {
        assert_eq!(value(&found(&lab, LabHost::B, family, || ()), path).as_deref(), Some("0"), "{path}");
        set(lab.netns(LabHost::B), path, "1");
        assert_eq!(value(&found(&lab, LabHost::B, family, || ()), path).as_deref(), Some("1"), "{path}");
        assert_eq!(value(&found(&lab, LabHost::A, family, || ()), path).as_deref(), Some("0"), "{path} of A");
    }
    let forward = |host| value(&found(&lab, host, Family::V4, || ()), "net/ipv4/ip_forward");
    assert_eq!([LabHost::A, LabHost::Fw].map(forward), [Some("0".to_owned()), Some("1".to_owned())]);
}

#[test]
fn the_route_back_is_told_with_its_device_or_with_what_ends_it() {
    let Some(lab) = lab("the_route_back_is_told_with_its_device_or_with_what_ends_it") else { return };
    let route = |family| {
        let findings = found(&lab, LabHost::B, family, || ());
        findings.into_iter().find_map(|finding| match finding {
            Finding::Route { errno, interface, to } => {
                assert_eq!(to, LabHost::A.address(family));
                Some((errno, interface.filter(|name| name != "lo")))
            }
            _ => None,
        })
    };
    for family in lab.families() {
        let netns = lab.netns(LabHost::B);
        let (flag, bits) = if *family == Family::V4 { ("-4", 32) } else { ("-6", 128) };
        assert_eq!(route(*family), Some((None, Some("eth0".to_owned()))), "{family:?}");
        let to = format!("{}/{bits}", LabHost::A.address(*family));
        for (kind, errno) in [("blackhole", "EINVAL"), ("unreachable", "EHOSTUNREACH"), ("prohibit", "EACCES")] {
            run(netns, &format!("ip {flag} route add {kind} {to}"));
            assert_eq!(route(*family), Some((Some(errno.to_owned()), None)), "{family:?} {kind}");
            run(netns, &format!("ip {flag} route del {kind} {to}"));
        }
        run(netns, &format!("ip {flag} route del default"));
        assert_eq!(route(*family), Some((Some("ENETUNREACH".to_owned()), None)), "{family:?}");
    }
}

#[test]
fn an_address_that_is_not_this_hosts_does_not_hide_the_route() {
    let Some(lab) = lab("an_address_that_is_not_this_hosts_does_not_hide_the_route") else { return };
    run(lab.netns(LabHost::B), "ip address del 10.78.0.20/24 dev eth0");
    run(lab.netns(LabHost::B), "ip address add 10.78.0.99/24 dev eth0");
    run(lab.netns(LabHost::B), "ip route add default via 10.78.0.1");
    let findings = found(&lab, LabHost::B, Family::V4, || ());
    let good = Finding::Route { to: LabHost::A.address(Family::V4), errno: None, interface: Some("eth0".to_owned()) };
    assert!(findings.contains(&good), "{findings:?}");
}

#[test]
fn a_rule_by_source_is_heeded() {
    let Some(lab) = lab("a_rule_by_source_is_heeded") else { return };
    for family in lab.families() {
        let (flag, own) = (if *family == Family::V4 { "-4" } else { "-6" }, LabHost::B.address(*family));
        run(lab.netns(LabHost::B), &format!("ip {flag} rule add from {own} prohibit"));
        let findings = found(&lab, LabHost::B, *family, || ());
        let refused =
            |finding: &Finding| matches!(finding, Finding::Route { errno: Some(errno), .. } if errno == "EACCES");
        assert!(findings.iter().any(refused), "{family:?}: {findings:?}");
    }
}
