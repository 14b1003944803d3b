//! The network namespaces a command works in, and as whom: enters the one that was asked for, and decides whether others
//! are watched.

use std::sync::Arc;

use crate::{
    cli::place::PlaceArgs,
    error::Failure,
    host::{
        container,
        entrance::Entrance,
        identity::{self, Identity, WantedIdentity},
        privilege::{self, PrivilegedTask},
    },
};

/// Moves this thread, and all that it starts, into the network namespace that was asked for; returns the prefix that
/// makes a command run there, or `None` if no namespace was asked for.
///
/// # Errors
/// There is no such namespace, or this process may not enter it.
pub(super) fn enter(args: &PlaceArgs) -> Result<Option<String>, Failure> {
    let entrance = match (&args.netns, &args.container) {
        (Some(what), _) => Entrance::to(what)?,
        (None, Some(wanted)) => {
            let (container, pid) = container::on_this_host(wanted)?;
            Entrance::of_container(&container, pid)?
        }
        (None, None) => return Ok(None),
    };
    entrance.pass()?;
    tracing::info!("in the network namespace of {}", entrance.name);
    Ok(Some(entrance.enter))
}

/// Enters as [`enter`] does, and finds whom to send as, where `wanted` names somebody: a process brings its own network namespace.
///
/// # Errors
/// There is nobody of that name, or it cannot be taken on, or the namespace is asked for twice.
pub(super) fn enter_as(
    args: &PlaceArgs,
    wanted: Option<&WantedIdentity>,
) -> Result<(Option<String>, Option<Arc<Identity>>), Failure> {
    let Some(wanted) = wanted else { return Ok((enter(args)?, None)) };
    privilege::require(PrivilegedTask::DiagnoseAs)?;
    let entered = enter(args)?;
    let found = identity::find(wanted)?;
    let sender = Some(Arc::new(found.identity));
    if matches!(wanted, WantedIdentity::User(_)) {
        return Ok((entered, sender));
    }
    if entered.is_some() {
        let what =
            "--as with a process, unit or container sends from its own network namespace, and another one was named";
        return Err(Failure::new(what, "leave --netns and --container out"));
    }
    let Some(entrance) = found.entrance else { return Ok((None, sender)) };
    entrance.pass()?;
    tracing::info!("in the network namespace of {}", entrance.name);
    Ok((Some(entrance.enter), sender))
}

/// Reports whether other network namespaces of this kernel are watched. `own_namespace` turns that off, and so does the
/// environment, for scripts that treat namespaces as machines.
pub(super) fn everywhere(own_namespace: bool) -> bool {
    !own_namespace && std::env::var_os("PROBE_OWN_NAMESPACE").is_none_or(|value| value != "1")
}
