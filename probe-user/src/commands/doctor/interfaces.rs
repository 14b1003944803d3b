//! Each interface: its state, how XDP would be attached by default, and which programs are attached already.

use std::{collections::BTreeSet, net::IpAddr};

use super::facts::{Facts, Interface, Scope};
use crate::{
    ebpf::foreign::{Owner, Program, ProgramHook},
    error::Mend,
    host::device::{AttachMode, Device, XdpPurpose, xdp_mode},
    model::attach::XdpChoice,
    report::doctor::{Check, CheckGroup, CheckStatus},
};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks: Vec<Check> = facts.interfaces.iter().flat_map(|interface| of_one(facts, interface)).collect();
    let unread: BTreeSet<&str> =
        facts.interfaces.iter().flat_map(|interface| &interface.attached.unread).map(String::as_str).collect();
    if !unread.is_empty() {
        let detail = format!("could not read {}", unread.into_iter().collect::<Vec<_>>().join(" and "));
        checks.push(Check::unknown(CheckGroup::Interfaces, "programs on them", detail));
    }
    checks
}

fn of_one(facts: &Facts, Interface { device, attached }: &Interface) -> Vec<Check> {
    let mut checks = vec![summary(facts, device)];
    checks.extend(attached.programs.iter().filter_map(|program| taken(facts, device, program)));
    checks.extend(others(device, &attached.programs));
    checks
}

/// Describes the interface. That it is down matters only if it was asked for by name.
fn summary(facts: &Facts, device: &Device) -> Check {
    let new = |state, detail, fix| {
        Check::new(CheckGroup::Interfaces, device.name.clone(), state, detail, fix)
            .value("mtu_bytes", device.mtu)
            .value("up", device.up)
            .value("carrier", device.carrier)
            .value("driver", device.driver_name())
    };
    let is = format!("{}, {}, MTU {}{}", condition(device), device.driver_name(), device.mtu, addresses(device));
    let modes = match modes(device) {
        Ok(modes) => modes,
        Err(error) => return new(CheckStatus::Warning, format!("{is}; {error}"), error.fix()),
    };
    let detail = format!("{is}; {modes}");
    match (facts.scope, device.up, device.carrier) {
        (Scope::One, false, _) => {
            new(CheckStatus::Warning, detail, facts.as_root(&format!("ip link set dev {} up", device.name)))
        }
        (Scope::One, true, false) => new(
            CheckStatus::Warning,
            detail,
            "plug in its cable, or bring up the other end of this veth or tunnel".to_owned(),
        ),
        _ => new(CheckStatus::Good, detail, String::new()),
    }
}

fn condition(device: &Device) -> &'static str {
    match (device.up, device.carrier) {
        (false, _) => "down",
        (true, true) => "up",
        (true, false) => "up without a carrier",
    }
}

/// Returns the first address of each IP version, and how many more there are.
fn addresses(device: &Device) -> String {
    let first = [device.v4.first().map(|v4| IpAddr::V4(*v4)), device.v6.first().map(|v6| IpAddr::V6(*v6))];
    let mut text: String = first.into_iter().flatten().map(|address| format!(", {address}")).collect();
    let more = device.v4.len().saturating_sub(1) + device.v6.len().saturating_sub(1);
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Describes what `--xdp auto` would choose, to observe and to drop.
fn modes(device: &Device) -> Result<String, crate::host::device::DeviceError> {
    let observe = xdp_mode(device, XdpChoice::Auto, XdpPurpose::Count)?;
    let drop = xdp_mode(device, XdpChoice::Auto, XdpPurpose::Drop)?;
    if observe.mode != drop.mode {
        return Ok(format!(
            "XDP {} to observe ({}), {} to drop ({})",
            observe.mode.name(),
            observe.why,
            drop.mode.name(),
            drop.why
        ));
    }
    let instead = if observe.mode == AttachMode::TcInstead { ", tc ingress counts instead" } else { "" };
    Ok(format!("XDP {}{instead}: {}", observe.mode.name(), drop.why))
}

/// Reports an XDP program that keeps probe's from being attached.
fn taken(facts: &Facts, device: &Device, program: &Program) -> Option<Check> {
    let ProgramHook::Xdp(_) = program.hook else { return None };
    let name = &device.name;
    let new = |state, detail: String, fix: String| {
        let check = Check::new(CheckGroup::Interfaces, format!("{name} xdp"), state, detail, fix);
        Some(check.value("program_id", program.id))
    };
    let tell = facts.as_root(&format!("bpftool net show dev {name}"));
    let instead = format!("{}   # to see whose it is: {tell}", facts.probe(&format!("observe -I {name} --xdp off")));
    match program.owner() {
        Owner::Probe => new(CheckStatus::Good, format!("probe's own {program}"), String::new()),
        Owner::Other => new(
            CheckStatus::Broken,
            format!(
                "another {program} is attached to {name}: hop xdp_in is blind there, and packets that it drops are not seen"
            ),
            instead,
        ),
        Owner::Unknown => new(
            CheckStatus::Warning,
            format!("an {program} is attached to {name}; CAP_SYS_ADMIN is needed to read whose it is"),
            instead,
        ),
    }
}

/// Reports tc programs and filters that share the hook with probe's.
fn others(device: &Device, programs: &[Program]) -> Option<Check> {
    let tc: Vec<String> = programs
        .iter()
        .filter(|program| !matches!(program.hook, ProgramHook::Xdp(_)))
        .map(ToString::to_string)
        .collect();
    let detail = format!("shared with {}", tc.join(", "));
    (!tc.is_empty()).then(|| Check::good(CheckGroup::Interfaces, format!("{} tc", device.name), detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::facts::tests::healthy;
    use crate::{
        ebpf::foreign::DevicePrograms,
        host::device::{DeviceType, XdpPlace},
    };

    fn facts(device: Device, attached: DevicePrograms) -> Facts {
        Facts { interfaces: vec![Interface { device, attached }], ..healthy(&[]) }
    }

    fn card() -> Device {
        Device {
            name: "eth0".into(),
            driver: Some("ena".into()),
            mtu: 9001,
            up: true,
            carrier: true,
            ..Device::default()
        }
    }

    #[test]
    fn a_card_is_told_in_one_line() {
        let v4 = vec!["10.0.0.1".parse().expect("an address"), "10.0.0.2".parse().expect("an address")];
        let checks = checks(&facts(Device { v4, ..card() }, DevicePrograms::default()));
        assert_eq!(checks.len(), 1);
        assert_eq!(
            checks[0].detail,
            "up, ena, MTU 9001, 10.0.0.1 and 1 more; XDP off to observe (tc at ingress counts the same, and costs \
             passing packets less than generic XDP), generic to drop (attaching inside ena re-makes its queues, which \
             can reset the link)"
        );
    }

    #[test]
    fn where_xdp_would_cost_an_offload_tc_counts_instead() {
        let checks = checks(&facts(Device { lro: true, ..card() }, DevicePrograms::default()));
        assert!(checks[0].detail.contains("XDP off, tc ingress counts instead: attaching XDP would switch"));
        assert_eq!(checks[0].state, CheckStatus::Good);
    }

    #[test]
    fn packets_that_cannot_be_read_are_a_warning() {
        let checks = checks(&facts(Device { link_layer: DeviceType::Other(32), ..card() }, DevicePrograms::default()));
        assert_eq!(checks[0].state, CheckStatus::Warning);
        assert!(checks[0].detail.contains("ARPHRD type 32") && !checks[0].fix.is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_said_once_for_all_interfaces() {
        let blind =
            || DevicePrograms { programs: Vec::new(), unread: vec!["TCX programs (needs CAP_NET_ADMIN)".into()] };
        let mut facts = facts(card(), blind());
        facts.interfaces.push(Interface { device: Device { name: "eth1".into(), ..card() }, attached: blind() });
        let unknown: Vec<Check> =
            checks(&facts).into_iter().filter(|check| check.state == CheckStatus::Unknown).collect();
        assert_eq!(unknown.len(), 1);
    }

    #[test]
    fn a_program_whose_name_cannot_be_read_may_be_anybodys() {
        let program =
            Program { hook: ProgramHook::Xdp(XdpPlace::Native), id: Some(42), name: None, kind: "bpf".into() };
        let checks = checks(&facts(card(), DevicePrograms { programs: vec![program], unread: Vec::new() }));
        assert_eq!(checks[1].state, CheckStatus::Warning);
        assert!(
            checks[1].detail.starts_with("an XDP program (id 42, native) is attached to eth0;"),
            "{}",
            checks[1].detail
        );
    }
}
