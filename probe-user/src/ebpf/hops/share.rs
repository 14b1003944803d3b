//! Programs by their names: all that were read from the object, or the share of them that one thread was given.

use std::collections::BTreeMap;

use aya::{Ebpf, programs::Program};

/// Where a program is found by its name.
pub trait ProgramLookup {
    /// The program `name`; none where it is not here.
    fn named(&mut self, name: &str) -> Option<&mut Program>;
}

impl ProgramLookup for Ebpf {
    fn named(&mut self, name: &str) -> Option<&mut Program> {
        self.program_mut(name)
    }
}

/// Some of the programs, so that several threads can each load theirs.
#[derive(Default)]
pub struct Share<'a>(BTreeMap<&'a str, &'a mut Program>);

impl<'a> Share<'a> {
    /// All of them.
    pub fn whole(programs: &'a mut Ebpf) -> Self {
        Self(programs.programs_mut().collect())
    }

    /// Takes out those with these names, as far as they are here.
    pub fn split_off(&mut self, names: &[&'a str]) -> Self {
        Self(names.iter().filter_map(|name| self.0.remove_entry(name)).collect())
    }
}

impl ProgramLookup for Share<'_> {
    fn named(&mut self, name: &str) -> Option<&mut Program> {
        self.0.get_mut(name).map(|program| &mut **program)
    }
}
