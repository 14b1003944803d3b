//! What every test that needs root asks first.

/// Whether this process is root. If not, says so loudly, or panics where `PROBE_NO_SKIP=1` forbids skipping.
pub(crate) fn root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("PROBE_NO_SKIP").is_none_or(|value| value != "1"), "{test} needs root");
        eprintln!("SKIPPED (needs root): {test}");
    }
    root
}
