//! A source address that is not the sender's: the kernel refuses it with the error of a missing route.

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{path::Side, places::DropPoint},
    model::trace::Finding,
};

/// Explains a send call from an address that this host does not have (`ip_route_output_key_hash_rcu`): a socket may have it with
/// `ip_nonlocal_bind`, and still sends nothing from it.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let refused = case.stop.place == DropPoint::Call
        && matches!(case.stop.cause.reason.as_deref(), Some("ENETUNREACH" | "EINVAL" | "EADDRNOTAVAIL"));
    refused.then_some(())?;
    let evidence = case.evidence;
    let source = evidence.local.host.address.filter(|source| !source.is_unspecified() && !source.is_loopback())?;
    let foreign = evidence
        .findings(Side::Local)
        .any(|finding| matches!(finding, Finding::Address { address, own: false } if *address == source));
    foreign.then_some(())?;
    let who = evidence.whom(Side::Local);
    let version = case.ip_version();
    Some(StopExplanation {
        detail: Some(format!("their source {source} is not an address of {who}")),
        meaning:
            "The kernel sends only from addresses that this host has. With ip_nonlocal_bind a program may ask for \
                  another one, as on a standby host without its virtual address, and is still refused here."
                .to_owned(),
        commands: vec![format!("ip {version} -br addr"), format!("ip {version} route get {}", evidence.target.address)],
        ..StopExplanation::default()
    })
}
