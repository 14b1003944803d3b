//! Loads the two netfilter programs, for which aya has no type: aya's object reader, aya's maps, and bpf(2).
//!
//! They are written as socket filters, so that the object reader accepts them; the kernel gets their real type.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use aya::Ebpf;
use aya_obj::{Map, Object};
use probe_ebpf::names;

use super::{
    KernelError,
    bpf_sys::{self, Instruction, ProgramType, always},
    object,
};

/// The programs that this file loads, and nothing else may.
pub const PROGRAMS: [&str; 2] = [names::NF_FIRST, names::NF_LAST];

/// Both programs, loaded into the kernel but attached nowhere yet.
pub struct NetfilterPrograms {
    /// [`names::NF_FIRST`].
    pub(super) first: OwnedFd,
    /// [`names::NF_LAST`].
    pub(super) last: OwnedFd,
}

impl NetfilterPrograms {
    /// Returns the same two programs.
    ///
    /// # Errors
    /// This process may open no more files.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { first: self.first.try_clone()?, last: self.last.try_clone()? })
    }
}

/// Why no netfilter programs could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum NetfilterError {
    /// The kernel refuses programs of this type.
    #[error("{}", of_kernel(source))]
    Kernel {
        /// Its answer.
        source: io::Error,
    },
    /// This build's object lacks a program, or a map that it uses was already taken out.
    #[error("this probe's kernel half cannot be linked: {why}")]
    Object {
        /// What is missing.
        why: String,
    },
}

fn of_kernel(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(nix::libc::EINVAL) => "this kernel has no netfilter programs (they came with Linux 6.4)".to_owned(),
        Some(nix::libc::EPERM) => {
            "not privileged: netfilter programs need CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON".to_owned()
        }
        _ => format!("the kernel refuses probe's netfilter program: {error}"),
    }
}

/// Checks that this kernel supports netfilter programs at all, by loading one that accepts everything.
///
/// # Errors
/// [`NetfilterError::Kernel`]: why not.
pub fn available() -> Result<(), NetfilterError> {
    let program = bpf_sys::load_program(ProgramType::Netfilter, names::NF_FIRST, &always(ACCEPT));
    program.map(drop).map_err(|source| NetfilterError::Kernel { source })
}

/// `NF_ACCEPT` of `include/uapi/linux/netfilter.h`.
const ACCEPT: i32 = 1;

/// The descriptors of the maps that the programs use, by name.
///
/// They are numbers of files that their owner holds open, so it must outlive this.
pub struct Maps<'a> {
    descriptors: BTreeMap<String, i32>,
    owner: PhantomData<&'a Ebpf>,
}

impl Maps<'_> {
    /// Collects the maps of `loaded`, its frozen global included. Call this before any map is taken out.
    pub fn of(loaded: &Ebpf) -> Self {
        let descriptors = loaded.maps().filter_map(|(name, map)| Some((name.to_owned(), descriptor(map)?)));
        Self { descriptors: descriptors.collect(), owner: PhantomData }
    }
}

/// Loads both programs, on a kernel where they are [`available`], so that they use `maps`.
///
/// # Errors
/// [`NetfilterError`]: the hops of netfilter are then blind, for this reason.
pub fn load(maps: &Maps<'_>) -> Result<NetfilterPrograms, NetfilterError> {
    let mut object = parse().map_err(|error| NetfilterError::Object { why: error.to_string() })?;
    link(&mut object, maps)?;
    let [first, last] = PROGRAMS.map(|name| load_own(name, &instructions(&object, name)?));
    Ok(NetfilterPrograms { first: first?, last: last? })
}

fn parse() -> Result<Object, KernelError> {
    Object::parse(object::bytes()?).map_err(|source| KernelError::Load { source: Box::new(source.into()) })
}

/// Puts descriptors of the maps and the code of subprograms into the two programs, and leaves the others out: those may use
/// maps that are gone.
fn link(object: &mut Object, linked: &Maps<'_>) -> Result<(), NetfilterError> {
    let broken = |error: aya_obj::relocation::EbpfRelocationError| NetfilterError::Object { why: error.to_string() };
    let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let others: HashSet<_> = object
        .programs
        .iter()
        .filter(|(name, _)| !PROGRAMS.contains(&name.as_str()))
        .map(|(_, program)| program.function_key())
        .collect();
    object.programs.retain(|name, _| PROGRAMS.contains(&name.as_str()));
    object.functions.retain(|key, _| !others.contains(key));
    let known: Vec<(String, Map)> = object.maps.iter().map(|(name, map)| (name.clone(), map.clone())).collect();
    let maps = known.iter().filter_map(|(name, map)| Some((name.as_str(), *linked.descriptors.get(name)?, map)));
    object.relocate_maps(maps, &text).map_err(broken)?;
    object.relocate_calls(&text).map_err(broken)?;
    object.sanitize_functions(aya::features());
    Ok(())
}

/// Returns the descriptor of a map, which aya keeps in a different type for each kind of map.
fn descriptor(map: &aya::maps::Map) -> Option<i32> {
    use aya::maps::Map::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, PerCpuLruHashMap, RingBuf};
    let (Array(data)
    | HashMap(data)
    | LruHashMap(data)
    | PerCpuArray(data)
    | PerCpuHashMap(data)
    | PerCpuLruHashMap(data)
    | RingBuf(data)) = map
    else {
        return None;
    };
    Some(data.fd().as_fd().as_raw_fd())
}

fn instructions(object: &Object, name: &'static str) -> Result<Vec<Instruction>, NetfilterError> {
    let missing = || NetfilterError::Object { why: format!("it has no program {name}") };
    let program = object.programs.get(name).ok_or_else(missing)?;
    let function = object.functions.get(&program.function_key()).ok_or_else(missing)?;
    let convert = |insn: &aya_obj::generated::bpf_insn| {
        Instruction::from_parts(insn.code, [insn.dst_reg(), insn.src_reg()], insn.off, insn.imm)
    };
    Ok(function.instructions.iter().map(convert).collect())
}

/// Loads one of the two programs. The kernel supports this type, so a refusal is about this program.
fn load_own(name: &str, program: &[Instruction]) -> Result<OwnedFd, NetfilterError> {
    bpf_sys::load_program(ProgramType::Netfilter, name, program).map_err(|error| {
        let log = bpf_sys::verifier_log(ProgramType::Netfilter, program);
        tracing::debug!("{name}: {log}");
        let said = log.lines().rfind(|line| !line.trim().is_empty() && !line.starts_with("processed "));
        NetfilterError::Object { why: format!("{name}: {error}: {}", said.unwrap_or("no reason given")) }
    })
}
