//! Which hops can be watched here: those of a NIC by the results of the trials, and with `-I` on that interface; the
//! others by their own check.

use probe_ebpf::contract::hop::{HOPS, Hop};

use super::facts::{Facts, Interface, Scope};
use crate::{
    ebpf::{
        foreign::{Owner, ProgramHook},
        trial::{HopTrial, TrialStep},
    },
    host::{
        device::{AttachMode, ModeChoice, XdpPurpose, xdp_mode},
        privilege::{PrivilegeError, PrivilegedTask, Privileges, listed},
    },
    model::attach::XdpChoice,
    report::doctor::HopCheck,
};

pub(super) fn checks(facts: &Facts) -> Vec<HopCheck> {
    let interface = facts.interfaces.first().filter(|_| facts.scope == Scope::One);
    let of = |hop: Hop| {
        let trial = facts.trials.hops.iter().find(|trial| trial.hop == hop);
        let tried = trial.map(|trial| check(trial, facts.privileges.as_ref(), interface));
        tried.or_else(|| Some(other(hop, facts.hops.get(&hop)?, facts.privileges.as_ref())))
    };
    let without = |hop: HopCheck| match facts.kernel_half {
        Err(missing) if hop.available => HopCheck { available: false, why: missing.to_string(), ..hop },
        _ => hop,
    };
    HOPS.iter().filter_map(|row| of(row.hop)).map(without).collect()
}

/// Checks a hop that does not belong to a NIC.
fn other(hop: Hop, said: &Result<String, String>, privileges: Option<&Privileges>) -> HopCheck {
    let allowed = match privileges.map(|privileges| privileges.allow(PrivilegedTask::Observe)) {
        Some(Err(error)) => Err(not_privileged(&error)),
        _ => Ok(()),
    };
    let said = allowed.and_then(|()| said.clone());
    HopCheck { hop: hop.name(), available: said.is_ok(), why: said.unwrap_or_else(|why| why) }
}

fn not_privileged(error: &PrivilegeError) -> String {
    match error {
        PrivilegeError::Missing { missing, .. } => {
            let verb = if missing.len() == 1 { "is" } else { "are" };
            format!("not privileged: {} {verb} missing", listed(missing))
        }
        other => format!("not privileged: {other}"),
    }
}

fn check(trial: &HopTrial, privileges: Option<&Privileges>, interface: Option<&Interface>) -> HopCheck {
    let (available, why) = match tried(trial, privileges) {
        Ok(how) => match interface.map_or(Ok(None), |interface| on(interface, trial.hop)) {
            Ok(remark) => (true, remark.map_or(how.clone(), |remark| format!("{how}; {remark}"))),
            Err(why) => (false, why),
        },
        Err(why) => (false, why),
    };
    HopCheck { hop: trial.hop.name(), available, why }
}

/// Describes how a hop is attached on this machine, or why it is not.
fn tried(trial: &HopTrial, privileges: Option<&Privileges>) -> Result<String, String> {
    let means = trial.means;
    let refusal = privileges.and_then(|privileges| privileges.allow(PrivilegedTask::Observe).err());
    match (&trial.load, &trial.attach) {
        (TrialStep::Works, TrialStep::Works) => Ok(format!("{means}: loaded and attached in a trial")),
        (TrialStep::Works, TrialStep::Untried(why)) => {
            Ok(format!("{means}: loaded in a trial; not attached, as {why}"))
        }
        (TrialStep::Works, TrialStep::Refused(errno)) => {
            Err(format!("the kernel refuses to attach its program ({means}): {} ({errno:?})", errno.desc()))
        }
        (TrialStep::Refused(errno), _) => Err(match refusal {
            Some(error) => not_privileged(&error),
            None => format!("the kernel refuses to load its program: {} ({errno:?})", errno.desc()),
        }),
        (TrialStep::Untried(why), _) => Err(format!("not tried: {why}")),
    }
}

/// Describes what an interface adds to that: a note, or why the hop is blind there. TCX and clsact take any number of
/// programs, XDP takes one.
fn on(Interface { device, attached }: &Interface, hop: Hop) -> Result<Option<String>, String> {
    let ModeChoice { mode, why } =
        xdp_mode(device, XdpChoice::Auto, XdpPurpose::Observe).map_err(|error| error.to_string())?;
    if hop != Hop::XdpIn {
        return Ok(None);
    }
    let holder = attached.programs.iter().find(|program| matches!(program.hook, ProgramHook::Xdp(_)));
    match holder {
        Some(program) if program.owner() == Owner::Other => {
            Err(format!("another {program} is attached to {}", device.name))
        }
        _ if mode == AttachMode::TcInstead => Ok(Some(format!("--xdp auto skips it on {}, as {why}", device.name))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::commands::doctor::facts::tests::healthy;
    use crate::{
        ebpf::{
            foreign::{DevicePrograms, Program},
            trial::AttachMeans,
        },
        host::device::{Device, DeviceType, XdpPlace},
    };

    fn trial(load: TrialStep, attach: TrialStep) -> HopTrial {
        HopTrial { hop: Hop::XdpIn, load, means: AttachMeans::Xdp, attach }
    }

    fn interface(device: Device, name: &str) -> Interface {
        let hook = ProgramHook::Xdp(XdpPlace::Native);
        let program = Program { hook, id: Some(42), name: Some(name.to_owned()), kind: "bpf".to_owned() };
        Interface { device, attached: DevicePrograms { programs: vec![program], unread: Vec::new() } }
    }

    #[test]
    fn a_hop_is_available_where_its_program_loads_and_attaches() {
        let untried = TrialStep::Untried("no namespace".to_owned());
        let rows = [
            (trial(TrialStep::Works, TrialStep::Works), true, "XDP link, generic: loaded and attached in a trial"),
            (trial(TrialStep::Works, untried.clone()), true, "not attached, as no namespace"),
            (trial(TrialStep::Works, TrialStep::Refused(Errno::EINVAL)), false, "refuses to attach"),
            (
                trial(TrialStep::Refused(Errno::EPERM), untried),
                false,
                "refuses to load its program: Operation not permitted (EPERM)",
            ),
        ];
        for (trial, available, why) in rows {
            let hop = check(&trial, None, None);
            assert_eq!(hop.available, available, "{hop:?}");
            assert!(hop.why.contains(why), "{hop:?}");
        }
    }

    #[test]
    fn a_hop_without_a_nic_is_as_good_as_its_family_says_and_nothing_without_privilege() {
        use crate::host::privilege::UserNamespace;
        let nobody = Privileges::new(nix::unistd::Uid::from_raw(1000), &[], UserNamespace::Initial);
        let (there, gone) = (Ok("netfilter link".to_owned()), Err("no cgroup2 file system is mounted here".to_owned()));
        assert!(other(Hop::NfInputFirst, &there, None).available);
        let blind = other(Hop::SocketIn, &gone, None);
        assert!(!blind.available && blind.why.starts_with("no cgroup2"), "{blind:?}");
        let refused = other(Hop::NfInputFirst, &there, Some(&nobody));
        assert!(!refused.available && refused.why.starts_with("not privileged: CAP_BPF"), "{refused:?}");
    }

    #[test]
    fn a_stub_build_can_watch_no_hop_and_says_so() {
        let facts = Facts { kernel_half: Err(crate::ebpf::object::Missing), ..healthy(&[]) };
        let hops = checks(&facts);
        assert_eq!(hops.len(), HOPS.len());
        assert!(hops.iter().all(|hop| !hop.available), "{hops:?}");
        let facts = Facts { privileges: None, ..facts };
        assert!(checks(&facts).iter().all(|hop| hop.why == "this probe was built without its kernel half"));
    }

    #[test]
    fn all_hops_of_the_table_are_listed_in_path_order() {
        let facts = Facts { privileges: None, ..healthy(&[]) };
        let hops = checks(&facts);
        let names: Vec<_> = hops.iter().map(|hop| hop.hop).collect();
        assert_eq!(names, HOPS.map(|row| row.name));
        assert!(hops.iter().all(|hop| hop.available), "{hops:?}");
    }

    #[test]
    fn somebody_elses_xdp_program_blinds_xdp_and_nothing_else() {
        let device = Device { name: "eth0".to_owned(), ..Device::default() };
        let taken = interface(device.clone(), "xdp_pass");
        assert_eq!(
            on(&taken, Hop::XdpIn),
            Err("another XDP program (id 42, 'xdp_pass', native) is attached to eth0".to_owned())
        );
        assert_eq!(on(&taken, Hop::TcIn), Ok(None));
        assert_eq!(on(&interface(device, "probe_xdp"), Hop::XdpIn), Ok(None));
    }

    #[test]
    fn what_auto_leaves_out_is_said_and_still_available() {
        let device = Device { name: "eth0".to_owned(), lro: true, ..Device::default() };
        let free = Interface { device, attached: DevicePrograms::default() };
        let hop = check(&trial(TrialStep::Works, TrialStep::Works), None, Some(&free));
        assert!(hop.available && hop.why.contains("skips it on eth0"), "{hop:?}");
    }

    #[test]
    fn packets_that_probe_cannot_read_blind_every_hop() {
        let device = Device { name: "ib0".to_owned(), link_layer: DeviceType::Other(32), ..Device::default() };
        let infiniband = Interface { device, attached: DevicePrograms::default() };
        assert!(on(&infiniband, Hop::TcOut).is_err_and(|why| why.contains("ARPHRD type 32")));
    }
}
