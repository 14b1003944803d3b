//! Reads which echoes of other programs the kernel programs gave a number, and says where requests get one.

use std::{net::IpAddr, sync::atomic::Ordering};

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use probe_ebpf::{
    FollowedEntry,
    contract::{
        follow::{
            CAME, FOLLOW, LEAVES, MAX_OTHERS, OF_ONE_ID, OF_ONE_PROCESS, SENT, SENT_BY_PACKET_SOCKET, TO_ONE_TARGET,
        },
        journey::MAX_PROBES,
        names,
    },
};

use super::{KernelError, drops::event_address, memory::Mapped, words::words};
use crate::model::followed::{FollowRequest, FollowedEcho, SendingProcess};

const WORDS_OF_ENTRY: usize = size_of::<FollowedEntry>() / 8;

/// `SOCK_DGRAM` of `include/linux/net.h`, on all processors but MIPS: a ping socket.
const SOCK_DGRAM: u32 = 2;

/// What the programs know of the echoes that are followed, as in the frozen global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowJob {
    /// What is asked for.
    pub request: FollowRequest,
    /// The inode of this process's pid namespace.
    pub pid_namespace: u32,
    /// Whether there are no hops of netfilter, so that what is sent gets its number later.
    pub late: bool,
}

impl FollowJob {
    /// Returns [`probe_ebpf::Config::follow`].
    pub fn bits(&self) -> u32 {
        let FollowRequest { target, id, process, .. } = self.request;
        let asked = [(target.is_some(), TO_ONE_TARGET), (id.is_some(), OF_ONE_ID), (process.is_some(), OF_ONE_PROCESS)];
        asked.into_iter().filter(|(asked, _)| *asked).fold(FOLLOW, |bits, (_, bit)| bits | bit)
    }

    /// Returns the target's address as the kernel half compares it; zero: any.
    pub fn target(&self) -> [u64; 2] {
        self.request.target.map_or([0; 2], words)
    }

    /// Returns where requests get numbers once every hop is watched.
    pub fn sights(&self) -> u32 {
        let sent = SENT_BY_PACKET_SOCKET | if self.late { LEAVES } else { SENT };
        // What comes in from elsewhere belongs to no process of this host.
        let incoming = self.request.incoming && self.request.process.is_none();
        sent | if incoming { CAME } else { 0 }
    }
}

/// Returns the maps of followed echoes with their sizes.
pub fn map_sizes() -> [(&'static str, u32); 3] {
    // Each echo has a key with both ends, and two with one of them.
    [(names::FOLLOWED, MAX_PROBES), (names::FOLLOW_KEYS, MAX_PROBES * 3), (names::FOLLOW_OTHERS, MAX_OTHERS)]
}

/// The maps of followed echoes.
pub struct FollowedMaps {
    memory: Mapped,
    count: Array<MapData, u64>,
    sights: Array<MapData, u32>,
}

impl FollowedMaps {
    /// Takes them out of `programs`, which must be loaded to follow.
    ///
    /// # Errors
    /// [`KernelError::NoMap`] if they are not, [`KernelError::Memory`] if memory is short.
    pub fn take(programs: &mut Ebpf) -> Result<Self, KernelError> {
        let memory = Mapped::take(programs, names::FOLLOWED, MAX_PROBES, size_of::<FollowedEntry>())?;
        Ok(Self {
            memory,
            count: whole(programs, names::FOLLOW_COUNT)?,
            sights: whole(programs, names::FOLLOW_SIGHTS)?,
        })
    }

    /// Gives requests numbers at these sights from now on; 0: nowhere.
    ///
    /// # Errors
    /// The map can no longer be written.
    pub fn give_at(&mut self, sights: u32) -> Result<(), KernelError> {
        self.sights.set(0, sights, 0).map_err(|source| KernelError::of_map(names::FOLLOW_SIGHTS, source))
    }

    /// Returns how many requests asked for a number, including those for which none was left.
    ///
    /// # Errors
    /// The map can no longer be read.
    pub fn asked(&self) -> Result<u64, KernelError> {
        self.count.get(&0, 0).map_err(|source| KernelError::of_map(names::FOLLOW_COUNT, source))
    }

    /// Returns the echoes that have a number, in the order of first sight.
    pub fn read(&self) -> Vec<FollowedEcho> {
        let entries = self.memory.words().chunks_exact(WORDS_OF_ENTRY);
        let read = |entry: &[std::sync::atomic::AtomicU64]| -> FollowedEntry {
            // The time first: it was written last.
            let words: [u64; WORDS_OF_ENTRY] = std::array::from_fn(|word| entry[word].load(Ordering::Acquire));
            bytemuck::cast(words)
        };
        (0..).zip(entries.map(read)).filter_map(|(number, entry)| told(number, &entry)).collect()
    }
}

fn whole<T: aya::Pod>(programs: &mut Ebpf, name: &'static str) -> Result<Array<MapData, T>, KernelError> {
    let map = programs.take_map(name).ok_or(KernelError::NoMap { name })?;
    Array::try_from(map).map_err(|source| KernelError::of_map(name, source))
}

/// Converts an entry from the kernel's form; `None` if its number was not given.
fn told(number: u16, entry: &FollowedEntry) -> Option<FollowedEcho> {
    let FollowedEntry { first_ns, near, far, program, id, seq, sight, process, socket } = *entry;
    let address = |words: [u64; 2]| -> IpAddr { event_address(bytemuck::cast(words)) };
    let name: Vec<u8> = program.into_iter().take_while(|byte| *byte != 0).collect();
    let program = String::from_utf8_lossy(&name).into_owned();
    (first_ns != 0).then(|| FollowedEcho {
        number,
        first_ns,
        near: address(near),
        far: address(far),
        id,
        seq,
        sent_here: sight != CAME,
        sender: (process != 0 || !program.is_empty()).then_some(SendingProcess { program, pid: process }),
        by_ping_socket: socket == SOCK_DGRAM,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: FollowRequest = FollowRequest { target: None, id: None, process: None, most: 10, incoming: true };

    #[test]
    fn what_is_not_asked_for_is_not_compared() {
        let job = |request| FollowJob { request, pid_namespace: 1, late: false };
        assert_eq!((job(ANY).bits(), job(ANY).target()), (FOLLOW, [0; 2]));
        let one = FollowRequest { target: Some([10, 0, 0, 2].into()), id: Some(7), ..ANY };
        assert_eq!(job(one).bits(), FOLLOW | TO_ONE_TARGET | OF_ONE_ID);
        assert_eq!(job(ANY).sights(), SENT | SENT_BY_PACKET_SOCKET | CAME);
        let process = FollowRequest { process: Some(1), ..ANY };
        assert_eq!(job(process).sights(), SENT | SENT_BY_PACKET_SOCKET);
        assert_eq!(FollowJob { late: true, ..job(process) }.sights(), LEAVES | SENT_BY_PACKET_SOCKET);
    }

    #[test]
    fn an_entry_without_a_time_is_none_and_a_name_ends_at_its_zero() {
        let mut entry =
            FollowedEntry { sight: SENT, process: 7, socket: SOCK_DGRAM, id: 9, seq: 1, ..FollowedEntry::default() };
        entry.program[..4].copy_from_slice(b"ping");
        entry.near = words([10, 0, 0, 1].into());
        assert_eq!(told(3, &entry), None);
        entry.first_ns = 5;
        let echo = told(3, &entry).expect("it has a time");
        assert_eq!(echo.sender, Some(SendingProcess { program: "ping".into(), pid: 7 }));
        assert_eq!((echo.number, echo.near, echo.id, echo.sent_here), (3, [10, 0, 0, 1].into(), 9, true));
        assert!(
            echo.by_ping_socket
                && told(0, &FollowedEntry { first_ns: 1, sight: CAME, ..entry }).is_some_and(|it| !it.sent_here)
        );
    }
}
