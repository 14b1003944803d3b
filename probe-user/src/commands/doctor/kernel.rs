//! What the kernel can do.

use nix::errno::Errno;

use super::{facts::Facts, lockdown};
use crate::{
    ebpf::{object, trial::TrialStep},
    error::Mend,
    report::doctor::{Check, CheckGroup, CheckStatus},
};

/// The oldest kernel that probe is tested on.
const OLDEST: (u32, u32) = (6, 1);
/// The first kernel with TCX.
const TCX: (u32, u32) = (6, 6);

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let sysctl = |name: &str| facts.sysctls.get(name).map(String::as_str);
    vec![
        kernel_half(facts.kernel_half),
        release(&facts.release),
        btf(facts.btf),
        maps(&facts.trials.map, facts.lacks_privilege()),
        jit(facts.trials.jit, sysctl("net/core/bpf_jit_enable"), &facts.as_root("sysctl -w net.core.bpf_jit_enable=1")),
        lockdown(facts.lockdown.as_deref()),
        unprivileged(sysctl("kernel/unprivileged_bpf_disabled")),
    ]
}

/// Checks that the binary carries its kernel programs: the one item here that does not depend on this kernel.
fn kernel_half(carried: Result<(), object::Missing>) -> Check {
    let name = "kernel_half";
    match carried {
        Ok(()) => Check::good(CheckGroup::Kernel, name, "this binary contains its kernel programs"),
        Err(missing) => Check::new(
            CheckGroup::Kernel,
            name,
            CheckStatus::Broken,
            format!("{missing}: it can send, but not watch packets"),
            missing.fix(),
        ),
    }
}

fn release(release: &str) -> Check {
    let name = "release";
    match version(release) {
        None => Check::unknown(CheckGroup::Kernel, name, format!("'{release}' has no version that probe can read")),
        Some(version) if version < OLDEST => Check::new(
            CheckGroup::Kernel,
            name,
            CheckStatus::Warning,
            format!(
                "{release} is older than 6.1, the oldest that probe is tested on; the trials below are still valid"
            ),
            "use Linux 6.1 or later",
        ),
        Some(version) if version < TCX => {
            Check::good(CheckGroup::Kernel, name, format!("{release}; clsact is used for tc, as TCX needs 6.6"))
        }
        Some(_) => Check::good(CheckGroup::Kernel, name, format!("{release}, new enough for TCX links")),
    }
}

/// Parses the first two numbers of a release such as `6.18.44-cloud-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn btf(bytes: Option<u64>) -> Check {
    match bytes {
        Some(bytes) => Check::good(
            CheckGroup::Kernel,
            "btf",
            format!("the kernel's types are available: /sys/kernel/btf/vmlinux, {} KiB", bytes / 1024),
        )
        .value("btf_bytes", bytes),
        None => Check::new(
            CheckGroup::Kernel,
            "btf",
            CheckStatus::Warning,
            "no /sys/kernel/btf/vmlinux: counting works, but hops inside the kernel cannot be watched",
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as all current distribution kernels are",
        ),
    }
}

fn maps(step: &TrialStep, unprivileged: bool) -> Check {
    match step {
        TrialStep::Works => Check::good(CheckGroup::Kernel, "maps", "one was created and closed again"),
        TrialStep::Refused(Errno::EPERM) if unprivileged => {
            Check::unknown(CheckGroup::Kernel, "maps", "this user may not create any; see privileges")
        }
        TrialStep::Refused(errno) => Check::new(
            CheckGroup::Kernel,
            "maps",
            CheckStatus::Broken,
            format!("the kernel refuses to create a map: {} ({errno:?})", errno.desc()),
            "if this is a container, allow bpf(2) in its seccomp profile",
        ),
        TrialStep::Untried(why) => Check::unknown(CheckGroup::Kernel, "maps", format!("not tried: {why}")),
    }
}

/// Checks the BPF JIT. A program that was loaded is the best evidence; not every network namespace shows the setting.
fn jit(tried: Option<bool>, setting: Option<&str>, fix: &str) -> Check {
    let on = tried.or(setting.map(|value| value != "0"));
    match on {
        Some(true) => Check::good(CheckGroup::Kernel, "jit", "programs are compiled to machine code"),
        Some(false) => Check::new(
            CheckGroup::Kernel,
            "jit",
            CheckStatus::Warning,
            "programs are interpreted, which makes each packet several times more expensive",
            fix,
        ),
        None => Check::unknown(
            CheckGroup::Kernel,
            "jit",
            "no program could be loaded, and bpf_jit_enable is not shown here",
        ),
    }
}

fn lockdown(text: Option<&str>) -> Check {
    match text.map(|text| lockdown::mode(text).unwrap_or(text)) {
        None => {
            Check::unknown(CheckGroup::Kernel, "lockdown", "not known: securityfs cannot be read, or has no lockdown")
        }
        Some("confidentiality") => Check::new(
            CheckGroup::Kernel,
            "lockdown",
            CheckStatus::Warning,
            "confidentiality: counting works, but programs may not read kernel memory",
            "boot with lockdown=integrity to see causes of drops inside the kernel",
        ),
        Some(mode) => Check::good(CheckGroup::Kernel, "lockdown", format!("{mode}: XDP and tc programs are allowed")),
    }
}

fn unprivileged(value: Option<&str>) -> Check {
    let detail = match value {
        Some("0") => "0: every user may load socket filters; XDP and tc still need privilege",
        Some("1") => "1: only privileged users load programs, until the next boot",
        Some("2") => "2: only privileged users load programs",
        Some(other) => {
            return Check::unknown(
                CheckGroup::Kernel,
                "unprivileged_bpf",
                format!("probe does not know the value '{other}'"),
            );
        }
        None => return Check::unknown(CheckGroup::Kernel, "unprivileged_bpf", "not shown in /proc/sys/kernel"),
    };
    Check::good(CheckGroup::Kernel, "unprivileged_bpf", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_all_kinds_have_a_version() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("6.1.0-56-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("5.15.0+"), Some((5, 15)));
        assert_eq!(version("mainline"), None);
    }

    #[test]
    fn a_stub_build_is_broken_and_says_what_to_build() {
        let check = kernel_half(Err(object::Missing));
        assert_eq!((check.state, check.fix.as_str()), (CheckStatus::Broken, "run: cargo xtask build"));
        assert_eq!(kernel_half(Ok(())).state, CheckStatus::Good);
    }

    #[test]
    fn each_kernel_is_told_what_it_means() {
        let rows = [
            ("5.15.0-91-generic", CheckStatus::Warning, "older than 6.1"),
            ("6.1.0-56-cloud-amd64", CheckStatus::Good, "clsact"),
            ("6.6.0", CheckStatus::Good, "TCX links"),
            ("mainline", CheckStatus::Unknown, "'mainline'"),
        ];
        for (text, state, detail) in rows {
            let check = release(text);
            assert_eq!(check.state, state, "{text}");
            assert!(check.detail.contains(detail), "{}", check.detail);
        }
    }

    #[test]
    fn a_loaded_program_knows_better_than_the_setting() {
        assert_eq!(jit(Some(true), Some("0"), "").state, CheckStatus::Good);
        assert_eq!(jit(Some(false), Some("1"), "").state, CheckStatus::Warning);
        assert_eq!(jit(None, Some("0"), "mend").fix, "mend");
        assert_eq!(jit(None, None, "").state, CheckStatus::Unknown);
    }

    #[test]
    fn a_refused_map_names_its_errno() {
        let check = maps(&TrialStep::Refused(Errno::EPERM), false);
        assert!(check.detail.ends_with("Operation not permitted (EPERM)"), "{}", check.detail);
        assert!(!check.ok);
        assert_eq!(maps(&TrialStep::Refused(Errno::EPERM), true).state, CheckStatus::Unknown);
    }

    #[test]
    fn only_confidentiality_is_worth_a_warning() {
        assert_eq!(lockdown(Some("none integrity [confidentiality]")).state, CheckStatus::Warning);
        assert_eq!(
            lockdown(Some("none [integrity] confidentiality")).detail,
            "integrity: XDP and tc programs are allowed"
        );
        assert_eq!(lockdown(None).state, CheckStatus::Unknown);
    }
}
