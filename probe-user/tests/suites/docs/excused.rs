//! Commands that pages show and that are not run as they stand, each with its reason, and what is run in their place.

/// A command that is not run as it stands.
pub(super) struct Excused {
    /// How it begins.
    pub(super) begins: &'static str,
    /// Why it is not run.
    #[allow(dead_code, reason = "it is for whoever reads this table")]
    pub(super) why: &'static str,
    /// What is run in its place, and must do what it was asked; what the page shows is not compared with it.
    pub(super) instead: Option<&'static str>,
}

const fn excused(begins: &'static str, why: &'static str, instead: Option<&'static str>) -> Excused {
    Excused { begins, why, instead }
}

pub(super) const EXCUSED: &[Excused] = &[
    excused("sudo probe doctor", "it tells of the machine, and machines differ", Some("sudo probe doctor || true")),
    excused(
        "sudo probe lab faults --summary",
        "ten minutes; the tests of `cases` run each fault",
        Some("sudo probe lab faults --summary peer-nft-input-reject healthy-empty -4"),
    ),
    excused("sudo probe lab characterize", "a quarter of an hour", Some("probe lab characterize --list")),
    excused("sudo probe lab up", "the session has its lab already", None),
    excused("sudo probe lab down", "the session ends by itself", None),
    excused(
        "sudo probe characterize 10.78.0.20 --peer",
        "six minutes",
        Some("sudo probe characterize 10.78.0.20 --only id --peer 'ssh b sudo probe agent'"),
    ),
    excused("sudo probe characterize 10.78.0.20 --full", "twenty minutes", None),
];
