//! The firewall that systemd puts at a unit's cgroup: `IPAddressDeny=` (`systemd.resource-control(5)`).

use super::{StopCase, StopExplanation};
use crate::diagnosis::places::DropPoint;

/// What the names of systemd's programs begin with (`src/core/bpf-firewall.c`).
const PROGRAM: &str = "'sd_fw_";

/// Explains packets that the program of a unit drops.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    matches!(case.stop.place, DropPoint::CgroupOut | DropPoint::CgroupIn).then_some(())?;
    let unit = unit(case.stop.cause.detail.as_deref()?)?;
    Some(StopExplanation {
        detail: None,
        meaning: format!(
            "It is the firewall that systemd puts at a unit: {unit} has IPAddressDeny= for this address, itself or by its slice."
        ),
        commands: vec![
            format!("systemctl show {unit} -p IPAddressAllow -p IPAddressDeny -p Slice"),
            "bpftool cgroup tree".to_owned(),
        ],
        ..StopExplanation::default()
    })
}

/// Returns the unit in the words for a program of systemd's: `cgroup program (id 7, 'sd_fw_egress', egress of a.service)`.
fn unit(program: &str) -> Option<&str> {
    let (_, of) = program.split_once(PROGRAM)?;
    let unit = of.split_once(" of ")?.1.split([')', ',', ';']).next()?;
    [".service", ".scope", ".slice", ".socket", ".mount"].iter().any(|kind| unit.ends_with(kind)).then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_of_systemds_names_its_unit() {
        assert_eq!(unit("cgroup program (id 7, 'sd_fw_egress', egress of app.service)"), Some("app.service"));
        assert_eq!(unit("cgroup program (id 7, 'sd_fw_ingress', ingress of system.slice)"), Some("system.slice"));
        assert_eq!(unit("cgroup program (id 7, 'mine', egress of app.service)"), None);
        assert_eq!(unit("cgroup program (id 7, 'sd_fw_egress', egress)"), None);
        assert_eq!(unit("cgroup program (id 7, 'sd_fw_egress', egress of a folder)"), None);
    }
}
