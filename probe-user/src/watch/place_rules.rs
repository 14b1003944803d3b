//! Which rules end probes in the other network namespaces that they cross, if rules are traced (`--trace-rules`): from
//! when a probe was first seen there.

use std::collections::BTreeMap;

use crate::{
    host::{namespace::Namespace, or_log, trace_rules::TraceRules},
    model::{request::EchoFlow, trace::Finding},
};

/// The traces of one run, by namespace.
pub(super) struct PlaceRules {
    flow: EchoFlow,
    nonce: u64,
    /// None: it does not work there.
    traces: BTreeMap<u32, Option<TraceRules>>,
}

impl PlaceRules {
    /// Creates it with none; `nonce` is that of the run.
    pub(super) fn new(flow: EchoFlow, nonce: u64) -> Self {
        Self { flow, nonce, traces: BTreeMap::new() }
    }

    /// Traces the rules of that namespace from now on, unless it does already. If that does not work, it is reported
    /// once.
    pub(super) fn enter(&mut self, inode: u32, namespace: Option<&Namespace>) {
        let Self { flow, nonce, traces } = self;
        let begin = || {
            let namespace =
                namespace.ok_or_else(|| format!("nobody was found who is in the network namespace {inode}"))?;
            let begun = namespace.run(|| TraceRules::begin(flow, *nonce));
            begun.unwrap_or_else(|error| Err(format!("this process may not enter it: {error}")))
        };
        traces.entry(inode).or_insert_with(|| {
            let name = namespace.map_or_else(|| inode.to_string(), |namespace| namespace.name.clone());
            begin().inspect_err(|why| tracing::warn!("the rule that drops in {name} will not be named: {why}")).ok()
        });
    }

    /// Ends the trace of that namespace; returns which rules ended probes there.
    pub(super) fn end(&mut self, inode: u32, namespace: &Namespace) -> Vec<Finding> {
        let Some(trace) = self.traces.get_mut(&inode).and_then(Option::take) else { return Vec::new() };
        // nft must run inside to show their text.
        or_log("rules", namespace.run(|| trace.end())).unwrap_or_default()
    }
}
