//! What the exit status of `probe` means.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Delivered, or the command did its work.
    Done,
    /// Measured, and the traffic stops, is lost in part, or is altered; the report says where.
    Stopped,
    /// As [`Exit::Stopped`], with the status of the stage where packets stop ([`crate::model::stage`]).
    Stage(u8),
    /// Could not measure: usage, privilege, no such interface; one line on stderr says why.
    Failed,
    /// Ctrl-C or SIGTERM; what was learned so far is printed.
    Interrupted,
    /// Another command was run, and this is its own exit status, as a shell has it.
    Command(u8),
}

impl Exit {
    /// Returns the exit status for the shell.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Stopped => 1,
            Self::Failed => 2,
            Self::Interrupted => 130,
            Self::Command(status) | Self::Stage(status) => status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let codes = [Exit::Done, Exit::Stopped, Exit::Failed, Exit::Interrupted].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 130]);
        assert_eq!(Exit::Command(77).code(), 77);
    }
}
