//! A case of the catalogue, whoever wrote it: a row over the lab's two ends, or a fault of a scene.

use probe_ebpf::{Echo, Family};

use super::{Case, FaultError, SceneCase, expect::Wanted, tool};

/// One case: what is broken, diagnosed and judged at once.
#[derive(Clone, Debug)]
pub enum CatalogueCase {
    /// In the lab: a host, a firewall, a host.
    Row(Case),
    /// In a scene.
    Scene(SceneCase),
}

impl From<Case> for CatalogueCase {
    fn from(case: Case) -> Self {
        Self::Row(case)
    }
}

impl From<SceneCase> for CatalogueCase {
    fn from(case: SceneCase) -> Self {
        Self::Scene(case)
    }
}

/// What a case can be chosen by.
pub trait NamedCase {
    /// Returns its name on the command line.
    fn name(&self) -> &str;
    /// Returns its IP version.
    fn family(&self) -> Family;
}

impl NamedCase for Case {
    fn name(&self) -> &str {
        &self.name
    }

    fn family(&self) -> Family {
        self.family
    }
}

impl NamedCase for CatalogueCase {
    fn name(&self) -> &str {
        match self {
            Self::Row(case) => &case.name,
            Self::Scene(case) => &case.name,
        }
    }

    fn family(&self) -> Family {
        match self {
            Self::Row(case) => case.family,
            Self::Scene(case) => case.family,
        }
    }
}

impl CatalogueCase {
    /// Returns its name on the command line.
    pub fn name(&self) -> &str {
        NamedCase::name(self)
    }

    /// Returns its IP version.
    pub fn family(&self) -> Family {
        NamedCase::family(self)
    }

    /// Returns what is wrong, in a few words.
    pub fn title(&self) -> &str {
        match self {
            Self::Row(case) => case.fault.title,
            Self::Scene(case) => &case.fault().title,
        }
    }

    /// Returns the leg on which it lies; for a healthy case, the request's.
    pub fn leg(&self) -> Echo {
        match self {
            Self::Row(case) => case.leg,
            Self::Scene(case) => case.leg,
        }
    }

    /// Returns where on its leg it lies: `nothing`, `sender`, `network`, `receiver`, or `between` for a place of a scene that
    /// is neither end.
    pub fn place(&self) -> &'static str {
        match self {
            Self::Row(case) => case.fault.place.name(),
            Self::Scene(case) => case.place(),
        }
    }

    /// Returns what is held of every diagnosis of it.
    pub fn wanted(&self) -> Wanted {
        match self {
            Self::Row(case) => case.fault.expected.wanted(case.leg, case.side()),
            Self::Scene(case) => case.wanted(),
        }
    }

    /// Returns whether a stop must be reported.
    pub fn has_stop(&self) -> bool {
        !self.wanted().layers.is_empty()
    }

    /// Explains what this machine lacks for it, if anything.
    ///
    /// # Errors
    /// It cannot be found out, since no namespace can be made.
    pub fn lacks(&self) -> Result<Option<String>, FaultError> {
        match self {
            Self::Row(case) => Ok(lacks(case)),
            Self::Scene(case) => case.lacks(),
        }
    }
}

/// Explains why this machine cannot make the fault of a row: a program that it needs is not installed.
pub fn lacks(case: &Case) -> Option<String> {
    case.needs().filter(|program| !tool::is_there(program)).map(|program| format!("{program} is not installed"))
}
