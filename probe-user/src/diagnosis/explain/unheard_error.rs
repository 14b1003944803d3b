//! ICMP errors that came to the sender's host, and of which its program was never told: something drops them there.

use super::{StopCase, StopExplanation};
use crate::diagnosis::path::Side;

/// Explains packets about which errors came in to the sender, where its sockets, which stand behind netfilter, were given none.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let evidence = case.evidence;
    let leg = case.gap.leg;
    // No program waits for errors about packets that a device makes.
    evidence.layer.is_none().then_some(())?;
    let said = case.stop.cause.icmp.as_ref().filter(|_| leg == evidence.first_leg())?;
    let came =
        evidence.local.heard.iter().filter(|heard| heard.leg == leg && case.gap.probes.contains(&heard.error.probe));
    let came = came.count();
    (came > 0 && evidence.sending.errors.is_empty()).then_some(())?;
    let name = evidence.name(Side::Local);
    let errors = if came == 1 { "an ICMP error".to_owned() } else { format!("{came} such errors") };
    let lesson = if said.is_too_big() {
        " So its kernel does not learn the path MTU, and goes on sending packets that are too long."
    } else {
        ""
    };
    Some(StopExplanation {
        detail: Some(format!(
            "{errors} came in to {name} and {} dropped on it before a program was told",
            if came == 1 { "was" } else { "were" }
        )),
        meaning: format!(
            "{} says why: {}. A firewall of {name} most likely drops ICMP errors: they have to be let in, at the least those of known \
             connections (ct state related).{lesson}",
            said.from, said.meaning
        ),
        commands: vec!["nft list ruleset | grep -n -i icmp".to_owned(), "iptables-save | grep -i icmp".to_owned()],
        on: Some(Side::Local),
        tracking: None,
    })
}
