//! An ICMP error in the target's own name that a host never says of itself: somebody behind a rewritten address says it.

use super::{StopCase, StopExplanation};
use crate::diagnosis::document::StopHost;

/// Explains a refusal in the name of the target that is a router's, or that of a rule which rejects in this way.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let open = matches!(case.stop.host, StopHost::Beyond | StopHost::Network);
    let said = case.stop.cause.icmp.as_ref().filter(|said| open && said.is_of_a_router())?;
    let target = case.evidence.target.address;
    (said.from == target).then_some(())?;
    let far =
        if case.evidence.two_sided() { "" } else { " An agent on the host behind it, or on the router, tells which." };
    Some(StopExplanation {
        detail: None,
        meaning: format!(
            "Of itself no host says \"{}\": {target} is rewritten on the way (a Service, a published port, a NAT), and what is \
             behind it is not reached; or a firewall there rejects with this very error.{far}",
            said.meaning
        ),
        commands: Vec::new(),
        ..StopExplanation::default()
    })
}
