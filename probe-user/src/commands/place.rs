//! In which network namespaces a command works: into the one that was asked for, and whether others are looked at.

use crate::{
    cli::place::PlaceArgs,
    error::Failure,
    host::{container, entrance::Entrance},
};

/// Brings this thread, and all that it starts, into the network namespace that was asked for; returns what runs a command
/// there when put before it. None where nothing was asked for.
///
/// # Errors
/// There is none, or this process may not enter it.
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

/// Reports whether other network namespaces of this kernel are looked at, unless `own_namespace` alone was asked for.
/// A script that takes them for machines says so once.
pub(super) fn everywhere(own_namespace: bool) -> bool {
    !own_namespace && std::env::var_os("PROBE_OWN_NAMESPACE").is_none_or(|value| value != "1")
}
