//! The names of drop reasons. Their numbers change between kernels, so they come from the running one.

use std::collections::BTreeMap;

use crate::{
    host::btf::Btf,
    model::trace::benign::{Icmpv6Frees, NOT_GIVEN},
};

/// Bits below the number of the subsystem (`SKB_DROP_REASON_SUBSYS_SHIFT` of `include/net/dropreason.h`).
const SUBSYSTEM_SHIFT: u32 = 16;

/// Drop reasons by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    core: BTreeMap<u32, String>,
    subsystems: BTreeMap<u32, String>,
}

impl Reasons {
    /// Reads those of the kernel that `btf` describes; none before Linux 5.17, no subsystems before 6.4.
    pub fn of(btf: &Btf) -> Self {
        let named = |name, prefix| {
            let numbers = btf.enumerators(name).unwrap_or_default();
            numbers.into_iter().map(|(number, name)| (number, stripped(&name, prefix).to_owned())).collect()
        };
        Self {
            core: named("skb_drop_reason", "SKB_DROP_REASON_"),
            subsystems: named("skb_drop_reason_subsys", "SKB_DROP_REASON_SUBSYS_"),
        }
    }

    /// Returns the name of a reason, without its prefix: `NETFILTER_DROP`. The reasons of a subsystem have no names in the
    /// kernel's types: `OPENVSWITCH:0x30001`, or `subsys:0x90001`. Any other unknown number stays a number.
    ///
    /// A kernel without reasons gives [`NOT_GIVEN`].
    pub fn name(&self, reason: u32) -> String {
        if self.core.is_empty() {
            return NOT_GIVEN.to_owned();
        }
        if let Some(name) = self.core.get(&reason) {
            return name.clone();
        }
        match (reason >> SUBSYSTEM_SHIFT, self.subsystems.get(&(reason >> SUBSYSTEM_SHIFT))) {
            (0, _) => reason.to_string(),
            (_, Some(subsystem)) => format!("{subsystem}:{reason:#x}"),
            (_, None) => format!("subsys:{reason:#x}"),
        }
    }

    /// Returns how `ICMPv6` of this kernel frees a request that it has handled: since Linux 6.3, which also brought the
    /// reasons of neighbour discovery, it gives a reason.
    pub fn icmpv6_frees(&self) -> Icmpv6Frees {
        if self.number("IPV6_NDISC_BAD_OPTIONS").is_some() { Icmpv6Frees::AsItFared } else { Icmpv6Frees::Alike }
    }

    /// Returns the number of the reason `name`, given without its prefix.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.core.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
    }
}

fn stripped<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).or_else(|| name.strip_prefix("SKB_")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons() -> Reasons {
        Reasons {
            core: [(2, "NOT_SPECIFIED".to_owned()), (3, "NO_SOCKET".to_owned())].into(),
            subsystems: [(0, "CORE".to_owned()), (3, "OPENVSWITCH".to_owned())].into(),
        }
    }

    #[test]
    fn reasons_go_by_name_and_unknown_ones_by_number() {
        let names = [3, 99, 0x3_0001, 0x9_0001].map(|reason| reasons().name(reason));
        assert_eq!(names, ["NO_SOCKET", "99", "OPENVSWITCH:0x30001", "subsys:0x90001"]);
        assert_eq!(Reasons::default().name(0), NOT_GIVEN);
    }

    #[test]
    fn numbers_are_found_by_name() {
        assert_eq!(reasons().number("NO_SOCKET"), Some(3));
        assert_eq!(reasons().number("LOST"), None);
    }

    #[test]
    fn prefixes_go() {
        assert_eq!(stripped("SKB_DROP_REASON_TC_EGRESS", "SKB_DROP_REASON_"), "TC_EGRESS");
        assert_eq!(stripped("SKB_CONSUMED", "SKB_DROP_REASON_"), "CONSUMED");
    }
}
