//! Programs by name: all that were read from the object, or the share of them that one thread gets.

use std::collections::BTreeMap;

use aya::{Ebpf, programs::Program};

/// A set of programs that can be looked up by name.
pub trait ProgramLookup {
    /// Returns the program `name`; `None` if it is not in this set.
    fn named(&mut self, name: &str) -> Option<&mut Program>;
}

impl ProgramLookup for Ebpf {
    fn named(&mut self, name: &str) -> Option<&mut Program> {
        self.program_mut(name)
    }
}

/// Some of the programs, so that several threads can each load their own.
#[derive(Default)]
pub struct Share<'a>(BTreeMap<&'a str, &'a mut Program>);

impl<'a> Share<'a> {
    /// Returns the share that holds all of them.
    pub fn whole(programs: &'a mut Ebpf) -> Self {
        Self(programs.programs_mut().collect())
    }

    /// Removes the programs with these names, as far as they are here, and returns them as a share.
    pub fn split_off(&mut self, names: &[&'a str]) -> Self {
        Self(names.iter().filter_map(|name| self.0.remove_entry(name)).collect())
    }
}

impl ProgramLookup for Share<'_> {
    fn named(&mut self, name: &str) -> Option<&mut Program> {
        self.0.get_mut(name).map(|program| &mut **program)
    }
}
