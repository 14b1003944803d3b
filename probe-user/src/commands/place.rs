//! The network namespaces a command works in: enters the one that was asked for, and decides whether others are
//! watched.

use crate::{
    cli::place::PlaceArgs,
    error::Failure,
    host::{container, entrance::Entrance},
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

/// Reports whether other network namespaces of this kernel are watched. `own_namespace` turns that off, and so does the
/// environment, for scripts that treat namespaces as machines.
pub(super) fn everywhere(own_namespace: bool) -> bool {
    !own_namespace && std::env::var_os("PROBE_OWN_NAMESPACE").is_none_or(|value| value != "1")
}
