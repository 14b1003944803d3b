//! Which hops can count here, as the trials tell; with `-I`, on that interface.

use probe_ebpf::contract::hop::Hop;

use super::facts::{Facts, Interface, Scope};
use crate::{
    attach::XdpChoice,
    device::{Choice, Mode, Purpose, xdp_mode},
    kernel::{
        foreign::{Hook, Owner},
        privilege::{Error, Privileges, Task, listed},
        trial::{HopTrial, Step},
    },
    report::doctor::HopCheck,
};

pub(super) fn checks(facts: &Facts) -> Vec<HopCheck> {
    let interface = facts.interfaces.first().filter(|_| facts.scope == Scope::One);
    facts.trials.hops.iter().map(|trial| check(trial, facts.privileges.as_ref(), interface)).collect()
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

/// How a hop is attached on this machine, or why it is not.
fn tried(trial: &HopTrial, privileges: Option<&Privileges>) -> Result<String, String> {
    let means = trial.means;
    let refusal = privileges.and_then(|privileges| privileges.allow(Task::Observe).err());
    match (&trial.load, &trial.attach) {
        (Step::Works, Step::Works) => Ok(format!("{means}: loaded and attached in a trial")),
        (Step::Works, Step::Untried(why)) => Ok(format!("{means}: loaded in a trial; not attached, as {why}")),
        (Step::Works, Step::Refused(errno)) => {
            Err(format!("the kernel refuses to attach its program ({means}): {} ({errno:?})", errno.desc()))
        }
        (Step::Refused(errno), _) => Err(match refusal {
            Some(Error::Missing { missing, .. }) => {
                let verb = if missing.len() == 1 { "is" } else { "are" };
                format!("not privileged: {} {verb} missing", listed(&missing))
            }
            Some(error) => format!("not privileged: {error}"),
            None => format!("the kernel refuses to load its program: {} ({errno:?})", errno.desc()),
        }),
        (Step::Untried(why), _) => Err(format!("not tried: {why}")),
    }
}

/// What an interface adds to that: something to know, or why the hop is blind there. TCX and clsact take any number of
/// programs, XDP takes one.
fn on(Interface { device, attached }: &Interface, hop: Hop) -> Result<Option<String>, String> {
    let Choice { mode, why } =
        xdp_mode(device, XdpChoice::Auto, Purpose::Observe).map_err(|error| error.to_string())?;
    if hop != Hop::XdpIn {
        return Ok(None);
    }
    let holder = attached.programs.iter().find(|program| matches!(program.hook, Hook::Xdp(_)));
    match holder {
        Some(program) if program.owner() == Owner::Other => Err(format!("another {program} is on {}", device.name)),
        _ if mode == Mode::TcInstead => Ok(Some(format!("--xdp auto leaves it out on {}, as {why}", device.name))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::{
        device::{Device, LinkLayer, XdpPlace},
        kernel::{
            foreign::{Attached, Program},
            trial::Means,
        },
    };

    fn trial(load: Step, attach: Step) -> HopTrial {
        HopTrial { hop: Hop::XdpIn, load, means: Means::Xdp, attach }
    }

    fn interface(device: Device, name: &str) -> Interface {
        let hook = Hook::Xdp(XdpPlace::Native);
        let program = Program { hook, id: Some(42), name: Some(name.to_owned()), kind: "bpf".to_owned() };
        Interface { device, attached: Attached { programs: vec![program], unread: Vec::new() } }
    }

    #[test]
    fn a_hop_is_available_where_its_program_loads_and_attaches() {
        let untried = Step::Untried("no namespace".to_owned());
        let rows = [
            (trial(Step::Works, Step::Works), true, "XDP link, generic: loaded and attached in a trial"),
            (trial(Step::Works, untried.clone()), true, "not attached, as no namespace"),
            (trial(Step::Works, Step::Refused(Errno::EINVAL)), false, "refuses to attach"),
            (
                trial(Step::Refused(Errno::EPERM), untried),
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
    fn somebody_elses_xdp_program_blinds_xdp_and_nothing_else() {
        let device = Device { name: "eth0".to_owned(), ..Device::default() };
        let taken = interface(device.clone(), "xdp_pass");
        assert_eq!(
            on(&taken, Hop::XdpIn),
            Err("another XDP program (id 42, 'xdp_pass', native) is on eth0".to_owned())
        );
        assert_eq!(on(&taken, Hop::TcIn), Ok(None));
        assert_eq!(on(&interface(device, "probe_xdp"), Hop::XdpIn), Ok(None));
    }

    #[test]
    fn what_auto_leaves_out_is_said_and_still_available() {
        let device = Device { name: "eth0".to_owned(), lro: true, ..Device::default() };
        let free = Interface { device, attached: Attached::default() };
        let hop = check(&trial(Step::Works, Step::Works), None, Some(&free));
        assert!(hop.available && hop.why.contains("leaves it out on eth0"), "{hop:?}");
    }

    #[test]
    fn packets_that_probe_cannot_read_blind_every_hop() {
        let device = Device { name: "ib0".to_owned(), link_layer: LinkLayer::Other(32), ..Device::default() };
        let infiniband = Interface { device, attached: Attached::default() };
        assert!(on(&infiniband, Hop::TcOut).is_err_and(|why| why.contains("ARPHRD type 32")));
    }
}
