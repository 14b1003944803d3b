//! Kernels before 5.18: whether this is one, and what its programs can't do. Found by loading a trial program, since vendors give
//! old kernels what newer ones have.

use std::{io, sync::OnceLock};

use nix::libc;

use super::{
    KernelError,
    bpf_sys::{self, Instruction, ProgramType},
};

/// The first Linux with everything that a program with rules, or a guard, holds: `bpf_loop` (5.17), `bpf_xdp_load_bytes` and
/// XDP for packets in several fragments (5.18), atomic exchange (5.12).
pub const SINCE: &str = "5.18";

/// Reports whether this kernel lacks that. Asked only once.
pub fn is_here() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| means_old(&trial()))
}

/// Checks that rules or a guard can be loaded on this kernel. `what`: which, with the verb: `a guard needs`.
///
/// # Errors
/// [`KernelError::OldKernel`].
pub fn check(what: &'static str) -> Result<(), KernelError> {
    if is_here() { Err(KernelError::OldKernel { what }) } else { Ok(()) }
}

/// Loads a program that calls the newest helper that probe's programs call.
fn trial() -> io::Result<()> {
    /// `bpf_xdp_get_buff_len` of `include/uapi/linux/bpf.h`; its argument, the context, is in r1 at the start.
    const NEWEST: i32 = 188;
    /// `XDP_PASS`.
    const PASS: i32 = 2;
    let program = [Instruction::call(NEWEST), Instruction::set(0, PASS), Instruction::exit()];
    bpf_sys::load_program(ProgramType::Xdp, "probe_trial", &program).map(drop)
}

/// Reports whether the answer to the trial is that the verifier does not know the helper; any other refusal will be met again
/// and told when probe's own programs are loaded.
fn means_old(trial: &io::Result<()>) -> bool {
    trial.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verifier_that_does_not_know_the_helper_makes_a_kernel_old() {
        let refused = |errno| Err(io::Error::from_raw_os_error(errno));
        assert!(means_old(&refused(libc::EINVAL)));
        assert!(!means_old(&refused(libc::EPERM)) && !means_old(&refused(libc::ENOSYS)) && !means_old(&Ok(())));
    }
}
