//! The exact rules that ended the packets of a stop, if rules were traced (`--trace-rules`).

use probe_ebpf::Echo;

use crate::model::{netfilter::TableFamily, trace::Finding};

/// A rule or a policy that ended packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traced<'a> {
    /// The chain that it is in, which may be another one than the base chain.
    pub(super) chain: &'a str,
    pub(super) handle: Option<u64>,
    pub(super) rule: &'a str,
    pub(super) packets: u64,
}

/// Returns the base chain among `chains`, those of one hook, whose rules ended packets of `leg`, with those rules; `None` where
/// none was traced, or rules of several chains ended some. `findings` are all of that place.
pub(super) fn find<'a>(
    chains: &[(TableFamily, &'a Finding)],
    leg: Echo,
    findings: &[&'a Finding],
) -> Option<(&'a Finding, Vec<Traced<'a>>)> {
    let mut found: Vec<(&Finding, Traced<'_>)> = Vec::new();
    for finding in findings {
        let Finding::Rule { family, table, chain, handle, rule, verdict, leg: of, packets } = finding else { continue };
        if *of != leg || verdict != "drop" {
            continue;
        }
        let of_table =
            |base: &&Finding| matches!(base, Finding::Chain { family: f, table: t, .. } if (f, t) == (family, table));
        let exact = |base: &&Finding| has(base, chain, *handle);
        let here: Vec<&Finding> = chains.iter().map(|(_, base)| *base).filter(of_table).collect();
        // What leads to a rule is not known for every kind of rule; one that a chain of another hook leads to belongs
        // to that hook.
        let elsewhere = || findings.iter().copied().filter(of_table).any(|base| exact(&base));
        let base = match (here.iter().copied().find(exact), here.as_slice()) {
            (Some(base), _) => base,
            (None, [only]) if !elsewhere() => only,
            (None, _) => continue,
        };
        found.push((base, Traced { chain, handle: *handle, rule, packets: *packets }));
    }
    let (base, _) = *found.first()?;
    found.iter().all(|(other, _)| *other == base).then(|| (base, found.into_iter().map(|(_, rule)| rule).collect()))
}

/// Reports whether the base chain `base` leads to the rule with that handle in `chain`, or is that chain.
fn has(base: &Finding, chain: &str, handle: Option<u64>) -> bool {
    let Finding::Chain { chain: name, ending, .. } = base else { return false };
    name == chain || ending.iter().any(|rule| rule.chain == chain && rule.handle == handle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{netfilter::NetfilterHook, trace::ChainRule};

    fn chain(hook: NetfilterHook, name: &str, leads_to: &[(&str, u64)]) -> Finding {
        let ending = leads_to.iter().map(|(chain, handle)| ChainRule {
            chain: (*chain).to_owned(),
            rule: "drop".to_owned(),
            handle: Some(*handle),
        });
        Finding::Chain {
            family: TableFamily::Inet,
            hook,
            table: "t".to_owned(),
            chain: name.to_owned(),
            policy: "accept".to_owned(),
            can_drop: true,
            legacy: false,
            ending: ending.collect(),
            limits: Vec::new(),
        }
    }

    fn rule(chain: &str, handle: u64, leg: Echo) -> Finding {
        Finding::Rule {
            family: TableFamily::Inet,
            table: "t".to_owned(),
            chain: chain.to_owned(),
            handle: Some(handle),
            rule: "drop".to_owned(),
            verdict: "drop".to_owned(),
            leg,
            packets: 3,
        }
    }

    fn found(all: &[Finding], hook: NetfilterHook) -> Option<(String, Vec<u64>)> {
        let at = |finding: &&Finding| matches!(finding, Finding::Chain { hook: of, .. } if *of == hook);
        let chains: Vec<_> = all.iter().filter(at).map(|finding| (TableFamily::Inet, finding)).collect();
        let (base, rules) = find(&chains, Echo::Request, &all.iter().collect::<Vec<_>>())?;
        let Finding::Chain { chain, .. } = base else { unreachable!("it is a chain") };
        Some((chain.clone(), rules.iter().filter_map(|rule| rule.handle).collect()))
    }

    #[test]
    fn the_rule_of_a_chain_that_is_jumped_to_is_of_the_base_chain() {
        let forward = NetfilterHook::Forward;
        let all = [
            chain(forward, "one", &[("one", 1), ("sub", 2)]),
            chain(forward, "two", &[("two", 9)]),
            rule("sub", 2, Echo::Request),
        ];
        assert_eq!(found(&all, forward), Some(("one".to_owned(), vec![2])));
    }

    #[test]
    fn a_rule_of_another_hook_or_leg_is_none() {
        let (forward, input) = (NetfilterHook::Forward, NetfilterHook::Input);
        let all = [
            chain(forward, "one", &[("one", 1)]),
            chain(input, "in", &[("sub", 2)]),
            rule("sub", 2, Echo::Request),
            rule("one", 1, Echo::Reply),
        ];
        assert_eq!(found(&all, forward), None);
        assert_eq!(found(&all, input), Some(("in".to_owned(), vec![2])));
    }

    #[test]
    fn rules_of_two_chains_are_no_one_chains() {
        let forward = NetfilterHook::Forward;
        let (one, two) = (chain(forward, "one", &[("one", 1), ("one", 3)]), chain(forward, "two", &[("two", 2)]));
        let both = [one, two, rule("one", 1, Echo::Request), rule("two", 2, Echo::Request)];
        assert_eq!(found(&both, forward), None);
        assert_eq!(found(&both[..3], forward), Some(("one".to_owned(), vec![1])));
    }
}
