//! What kernels before 5.18 are given to load: nothing in it, reached or not, may be unknown to Linux 5.10, whose verifier
//! refuses the whole program for it.

use std::collections::HashSet;

use aya_obj::{Object, generated::bpf_insn};
use probe_ebpf::names;
use probe_user::ebpf::object;

/// The programs that are loaded there.
const LOADED: [&str; 11] = [
    names::XDP_OLD,
    names::IN_OLD,
    names::OUT_OLD,
    names::CGROUP_IN,
    names::CGROUP_OUT,
    names::DEV_QUEUE,
    names::XMIT,
    names::XMITTED,
    names::NETIF_IN,
    names::KFREE,
    names::CONSUME,
];

/// The last helper of Linux 5.10, `bpf_redirect_peer` (`include/uapi/linux/bpf.h`).
const LAST_HELPER: i32 = 155;

/// Returns what Linux 5.10 does not know in an instruction.
fn unknown(insn: &bpf_insn) -> Option<String> {
    const CALL: u8 = 0x85;
    const LOAD_LONG: u8 = 0x18;
    /// `BPF_STX | BPF_ATOMIC`, of 8 bytes and of 4.
    const ATOMIC: [u8; 2] = [0xdb, 0xc3];
    /// Loads with sign extension and the long jump of instruction set 4.
    const NEWER: [u8; 4] = [0x81, 0x89, 0x91, 0x06];
    /// `BPF_PSEUDO_FUNC`.
    const FUNCTION: u8 = 4;
    match insn.code {
        code if ATOMIC.contains(&code) && insn.imm != 0 => Some(format!("atomic operation {:#x}", insn.imm)),
        LOAD_LONG if insn.src_reg() == FUNCTION => Some("the address of a function".to_owned()),
        CALL if insn.src_reg() == 0 && insn.imm > LAST_HELPER => Some(format!("helper {}", insn.imm)),
        code if NEWER.contains(&code) => Some(format!("instruction {code:#x}")),
        _ => None,
    }
}

/// Returns what Linux 5.10 does not know in a program and all that it calls, as the loader links them.
fn unknown_in(program: &str) -> Vec<String> {
    let mut object = Object::parse(object::bytes().expect("a kernel half")).expect("an object");
    let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&text).expect("it links");
    let key = object.programs.get(program).unwrap_or_else(|| panic!("{program} is there")).function_key();
    object.functions[&key].instructions.iter().filter_map(unknown).collect()
}

#[test]
fn what_old_kernels_load_holds_nothing_that_they_do_not_know() {
    if object::bytes().is_err() {
        return;
    }
    for program in LOADED {
        assert_eq!(unknown_in(program), [""; 0], "{program}");
    }
    // Those of rules do, which is why there are two of each.
    for program in [names::XDP, names::TC_IN, names::TC_OUT, names::GUARD_XDP] {
        assert_ne!(unknown_in(program), [""; 0], "{program}");
    }
}
