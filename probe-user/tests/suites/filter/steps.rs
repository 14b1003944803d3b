//! Killed between any two steps: each system call that changes something is once the last one of a command.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, Stdio},
    ptr,
};

use nix::libc;

use super::host::{HOME, expect_bare, folders, list, numbers, replies, send};
use crate::common::{
    is_root,
    net::{Pair, own_bpffs, programs},
    run::{Ran, command, probe},
};

/// Starts `command` so that this thread steps through its system calls.
fn traced(mut command: Command) -> Child {
    // SAFETY: between fork and exec the closure makes one system call, and neither allocates nor locks.
    unsafe {
        command.pre_exec(|| {
            match libc::ptrace(libc::PTRACE_TRACEME, 0, ptr::null_mut::<u8>(), ptr::null_mut::<u8>()) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("probe starts")
}

/// Whether the system call changes what the next command finds: pins, folders and links. What a killed process had only
/// loaded goes with it.
fn is_a_step(number: u64, first: u64) -> bool {
    /// `BPF_OBJ_PIN`, `BPF_LINK_CREATE`, `BPF_LINK_UPDATE` and `BPF_LINK_DETACH`.
    const STEPS_OF_BPF: [u64; 4] = [6, 28, 29, 34];
    let named = [libc::SYS_mkdirat, libc::SYS_unlinkat, libc::SYS_renameat, libc::SYS_renameat2];
    #[cfg(target_arch = "x86_64")]
    let older = [libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_unlink, libc::SYS_rename];
    #[cfg(not(target_arch = "x86_64"))]
    let older = [];
    let is = |call: &libc::c_long| u64::try_from(*call) == Ok(number);
    (is(&libc::SYS_bpf) && STEPS_OF_BPF.contains(&first)) || named.iter().any(is) || older.iter().any(is)
}

/// Asks the kernel to let `pid` go on to its next system call, or out of this one; says whether it still lives.
fn go_on(pid: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: `pid` is a child that this thread traces; the call passes no pointers, and `status` is valid for writes.
    unsafe {
        libc::ptrace(libc::PTRACE_SYSCALL, pid, ptr::null_mut::<u8>(), ptr::null_mut::<u8>());
        libc::waitpid(pid, &raw mut status, 0);
    }
    libc::WIFSTOPPED(status)
}

/// The system call before which `pid` stands: its number and its first argument.
fn call_of(pid: libc::pid_t) -> Option<(u64, u64)> {
    // SAFETY: all zeros is a valid value of it.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most as many bytes as are told, for which `info` has room.
    unsafe {
        let size = ptr::without_provenance_mut::<u8>(size_of_val(&info));
        libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid, size, &raw mut info);
    }
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: at the entry of a system call this is the part of the union that is filled in.
    let entry = unsafe { info.u.entry };
    Some((entry.nr, entry.args[0]))
}

/// Runs `command` and kills it as soon as `last` of its steps are done; says how many it has done.
fn killed_after(command: Command, last: usize) -> usize {
    let mut child = traced(command);
    let pid = libc::pid_t::try_from(child.id()).expect("a pid");
    let mut status = 0;
    // SAFETY: waits for the stop at exec of this thread's own child, which is then told how to stop.
    unsafe {
        libc::waitpid(pid, &raw mut status, 0);
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
        let options = ptr::without_provenance_mut::<u8>(options.unsigned_abs() as usize);
        libc::ptrace(libc::PTRACE_SETOPTIONS, pid, ptr::null_mut::<u8>(), options);
    }
    let mut steps = 0;
    while go_on(pid) {
        let is_step = call_of(pid).is_some_and(|(number, first)| is_a_step(number, first));
        if !is_step || !go_on(pid) {
            continue;
        }
        steps += 1;
        if steps == last {
            child.kill().expect("it is ours");
            assert_eq!(child.wait().expect("it ends").signal(), Some(libc::SIGKILL));
            return steps;
        }
    }
    // It came to its end, and was waited for there.
    let _ = child.wait();
    steps
}

/// What the filters' folders hold: how many generations of rules each has.
fn generations() -> BTreeMap<String, usize> {
    let count = |folder: &str| {
        let entries = fs::read_dir(Path::new(HOME).join(folder)).expect("it is there").filter_map(Result::ok);
        entries.filter(|entry| entry.path().is_dir()).count()
    };
    folders().into_iter().map(|folder| (folder.clone(), count(&folder))).collect()
}

#[test]
fn kill_9_after_any_step_leaves_what_the_next_command_repairs_and_tells() {
    if !is_root("kill_9_after_any_step_leaves_what_the_next_command_repairs_and_tells") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    // A rule beside others, the first one, one of several, and all of both directions.
    let verbs = ["filter add -I vb -e 7", "filter add -I vb -e 7 --direction out", "remove", "filter clear"];
    let mut told = Vec::new();
    for verb in verbs {
        for last in 1.. {
            let mut mended = vec![probe(&pair.b, "filter add -I vb -e 100")];
            if verb == "filter clear" {
                mended.push(probe(&pair.b, "filter add -I vb -e 100 --direction out"));
            }
            let present = numbers(&list(&pair.b));
            let words = if verb == "remove" { format!("filter remove {}", present[0]) } else { verb.to_owned() };
            told.extend(mended.into_iter().map(|ran: Ran| ran.done().stderr));
            assert!(generations().values().all(|count| *count == 1), "{words} after {}: {:?}", last - 1, generations());
            let done = killed_after(command(&pair.b, &words), last);
            let (rules, attached) = (list(&pair.b), programs(&pair.b, "vb").len());
            assert_eq!(!rules.is_empty(), attached > 0, "{words}, killed after step {last}");
            if words.contains("add") {
                let lost = present.iter().filter(|number| !numbers(&rules).contains(number)).count();
                assert_eq!(lost, 0, "{words}, killed after step {last}");
            }
            if done < last {
                break;
            }
        }
        send(&pair, &[replies(100, 3), replies(101, 3)].concat(), if list(&pair.b).is_empty() { 0 } else { 3 });
        probe(&pair.b, "filter clear").done();
        expect_bare(&pair.b, "vb");
    }
    let killed = told.iter().filter(|text| text.contains("killed probe")).count();
    assert!(killed >= verbs.len(), "it told {killed} times: {told:?}");
}
