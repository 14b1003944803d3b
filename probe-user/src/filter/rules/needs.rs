//! The features of the kernel programs that a set of rules needs: what no rule needs is not loaded.

use probe_ebpf::{
    Rule,
    filter::{
        ADDRESSES, ASKS_DESTINATION, ASKS_INNER, ASKS_PAYLOAD, ASKS_SEQ, ASKS_SOURCE, CHOICES, CONDITIONS, DEADLINES,
        DROP, DRY_RUN, DRY_RUNS, INNER,
    },
};

use super::overlap;

/// What a set of rules needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Bits for [`probe_ebpf::Config::filter`], without those that say whether and where rules hold.
    pub features: u32,
    /// For [`probe_ebpf::Config::filter_steps`].
    pub steps: u32,
}

impl Default for Needs {
    /// Returns the needs of rules that match by type, IP version and id alone, and always drop.
    fn default() -> Self {
        Self { features: 0, steps: 1 }
    }
}

impl Needs {
    /// Returns what these rules, in their order, need.
    pub fn of(in_order: &[(u32, &Rule)]) -> Self {
        let features = in_order.iter().fold(0, |features, (_, rule)| features | of_one(rule));
        let goes_on = in_order.iter().enumerate().any(|(index, (_, rule))| {
            // A rule for one sort of packets, inside a tunnel or not, lets the other sort on.
            (lets_on(rule) || features & INNER != 0)
                && in_order[index + 1..].iter().any(|(_, later)| overlap(rule, later))
        });
        let count = u32::try_from(in_order.len()).expect("there are few rules");
        Self { features, steps: if goes_on { count } else { 1 } }
    }
}

fn of_one(rule: &Rule) -> u32 {
    let asked = |bits: u32, feature: u32| if rule.asks & bits == 0 { 0 } else { feature };
    let deadline = if rule.deadline_ns == 0 { 0 } else { DEADLINES };
    let choice = if rule.action == DROP { 0 } else { CHOICES };
    deadline
        | choice
        | asked(ASKS_SEQ | ASKS_PAYLOAD, CONDITIONS)
        | asked(ASKS_SOURCE | ASKS_DESTINATION, ADDRESSES)
        | asked(DRY_RUN, DRY_RUNS)
        | asked(ASKS_INNER, INNER)
}

/// Reports whether a packet of the rule's kinds and ids may go on to the rules after it.
fn lets_on(rule: &Rule) -> bool {
    of_one(rule) & (DEADLINES | CONDITIONS | ADDRESSES | DRY_RUNS) != 0
}

#[cfg(test)]
mod tests {
    use probe_ebpf::filter::EVERY;

    use super::*;

    fn rule(ids: (u16, u16)) -> Rule {
        Rule { number: 1, id_first: ids.0, id_last: ids.1, kinds: 0b1111, ..Rule::default() }
    }

    fn needs(rules: &[Rule]) -> Needs {
        Needs::of(&rules.iter().map(|rule| (0, rule)).collect::<Vec<_>>())
    }

    #[test]
    fn plain_rules_need_nothing_however_many_there_are() {
        assert_eq!(needs(&[]), Needs::default());
        assert_eq!(needs(&[rule((1, 9)), rule((5, 5))]), Needs::default());
    }

    #[test]
    fn a_rule_that_lets_go_on_needs_steps_only_where_another_follows() {
        let mortal = Rule { deadline_ns: 1, ..rule((1, 9)) };
        assert_eq!(needs(&[mortal]), Needs { features: DEADLINES, steps: 1 });
        assert_eq!(needs(&[mortal, rule((10, 20))]).steps, 1);
        assert_eq!(needs(&[rule((5, 5)), mortal]).steps, 1);
        assert_eq!(needs(&[mortal, rule((5, 5))]).steps, 2);
    }

    #[test]
    fn every_field_asks_for_its_feature() {
        let asking = |asks| needs(&[Rule { asks, ..rule((1, 1)) }]).features;
        assert_eq!([asking(ASKS_SEQ), asking(ASKS_PAYLOAD)], [CONDITIONS; 2]);
        assert_eq!([asking(ASKS_SOURCE), asking(ASKS_DESTINATION)], [ADDRESSES; 2]);
        assert_eq!(asking(DRY_RUN), DRY_RUNS);
        assert_eq!(needs(&[Rule { action: EVERY, ..rule((1, 1)) }]), Needs { features: CHOICES, steps: 1 });
    }
}
