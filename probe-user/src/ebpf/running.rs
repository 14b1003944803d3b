//! What is known of the running kernel: its types, its structure layout, its functions. Read once, for all hops.

use std::{
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use probe_ebpf::contract::{
    drops::{DropConfig, ICMP_RANGES, NO_REASON},
    offsets::Offsets,
};

use crate::host::reasons::Reasons;
use crate::host::{
    btf::{self, Btf},
    offsets::{Layout, OffsetGroup},
    symbols::Symbols,
};

/// Functions in which the kernel's ICMP ends a packet.
const ICMP_FUNCTIONS: [&str; 3] = ["icmp_rcv", "icmpv6_rcv", "ping_rcv"];

/// Its types.
#[derive(Debug)]
struct Types {
    btf: Btf,
    layout: Layout,
    /// The types as the loader of tracepoint programs wants them.
    loaders: Result<aya::Btf, String>,
}

/// The running kernel.
#[derive(Debug)]
pub struct RunningKernel {
    types: Result<Types, String>,
    symbols: Result<Symbols, String>,
}

impl RunningKernel {
    /// Reads what the kernel publishes, types and symbols in parallel: either takes longer than all that a watch does
    /// with them. What it does not publish makes hops blind; that is not an error.
    pub fn read() -> Self {
        thread::scope(|scope| {
            let beside = thread::Builder::new().spawn_scoped(scope, read_types);
            let symbols = read_symbols();
            let types = beside.map_or_else(|_| read_types(), |thread| thread.join().unwrap_or_else(|_| read_types()));
            Self { types, symbols }
        })
    }

    /// Starts reading in the background for the next call of [`RunningKernel::taken`].
    pub fn read_ahead() {
        let reading = thread::Builder::new().spawn(Self::read).ok();
        *AHEAD.lock().unwrap_or_else(PoisonError::into_inner) = reading;
    }

    /// Returns what was read ahead, or reads it now. The age does not matter: neither its types nor its own functions change
    /// while a kernel runs.
    pub fn taken() -> Self {
        let reading = AHEAD.lock().unwrap_or_else(PoisonError::into_inner).take();
        reading.and_then(|reading| reading.join().ok()).unwrap_or_else(Self::read)
    }

    /// Keeps what was read for the next call of [`RunningKernel::taken`].
    pub fn keep(self) {
        let kept = thread::Builder::new().spawn(move || self).ok();
        *AHEAD.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    /// Returns its types.
    ///
    /// # Errors
    /// Why they can't be had, as a clause for the user.
    pub fn btf(&self) -> Result<&Btf, String> {
        self.types.as_ref().map(|types| &types.btf).map_err(Clone::clone)
    }

    /// Returns its types, for the loader of tracepoint programs.
    ///
    /// # Errors
    /// Why they can't be had, as a clause for the user.
    pub fn loaders_types(&self) -> Result<&aya::Btf, String> {
        self.types.as_ref().map_err(Clone::clone)?.loaders.as_ref().map_err(Clone::clone)
    }

    /// Returns the offsets of its fields, for programs that read those of `group`.
    ///
    /// # Errors
    /// Which of them is missing, as a clause for the user.
    pub fn layout(&self, group: OffsetGroup) -> Result<&Layout, String> {
        let layout = self.types.as_ref().map(|types| &types.layout).map_err(Clone::clone)?;
        layout.lack(group).map_or(Ok(layout), |lack| Err(lack.to_string()))
    }

    /// Returns the offsets of its fields, as far as they are known.
    pub fn offsets(&self) -> Offsets {
        self.types.as_ref().map_or(Offsets::NONE, |types| types.layout.offsets)
    }

    /// Returns its functions.
    ///
    /// # Errors
    /// Why they can't be had, as a clause for the user.
    pub fn symbols(&self) -> Result<&Symbols, String> {
        self.symbols.as_ref().map_err(Clone::clone)
    }

    /// Returns the names of its drop reasons.
    pub fn reasons(&self) -> Reasons {
        self.types.as_ref().map(|types| Reasons::of(&types.btf)).unwrap_or_default()
    }

    /// Returns the address ranges of its ICMP code.
    ///
    /// # Errors
    /// Why they are not known, as a clause for the user.
    pub fn icmp_code(&self) -> Result<[[u64; 2]; ICMP_RANGES], String> {
        let symbols = self.symbols()?;
        let mut found = ICMP_FUNCTIONS.iter().flat_map(|name| symbols.ranges(name));
        let ranges = std::array::from_fn(|_| found.next().map_or([0; 2], |range| [range.start, range.end]));
        if ranges[0] == [0; 2] { Err("this kernel lists no function icmp_rcv".to_owned()) } else { Ok(ranges) }
    }

    /// Returns what the programs of drop events must know.
    pub fn drop_config(&self) -> DropConfig {
        let reasons = self.reasons();
        let number = |name| reasons.number(name).unwrap_or(NO_REASON);
        let passes = |tracepoint: &str, index: usize, wanted: &str| {
            let arguments = self.btf().ok().and_then(|btf| btf.tracepoint(tracepoint).ok());
            arguments.and_then(|found| found.get(index).map(|argument| u32::from(argument == wanted))).unwrap_or(0)
        };
        DropConfig {
            icmp_code: self.icmp_code().unwrap_or_default(),
            reason_given: passes("kfree_skb", 2, "enum skb_drop_reason"),
            location_given: passes("consume_skb", 1, "void *"),
            netfilter_drop: number("NETFILTER_DROP"),
            not_specified: number("NOT_SPECIFIED"),
            no_socket: number("NO_SOCKET"),
            reserved: 0,
        }
    }
}

/// What is being read for the next [`RunningKernel::taken`].
static AHEAD: Mutex<Option<JoinHandle<RunningKernel>>> = Mutex::new(None);

fn read_types() -> Result<Types, String> {
    let bytes = btf::read().map_err(|error| error.to_string())?;
    let loaders = aya::Btf::parse(&bytes, aya::Endianness::default()).map_err(|error| error.to_string());
    let btf = Btf::parse(bytes).map_err(|error| error.to_string())?;
    let layout = Layout::of(&btf);
    Ok(Types { btf, layout, loaders })
}

fn read_symbols() -> Result<Symbols, String> {
    match Symbols::read() {
        Ok(symbols) if symbols.are_known() => Ok(symbols),
        Ok(_) => Err("the kernel hides the addresses of its functions: CAP_SYSLOG shows them".to_owned()),
        Err(error) => Err(format!("cannot read /proc/kallsyms: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_tells_nothing_makes_every_look_up_say_so() {
        let silent = RunningKernel { types: Err("no BTF".into()), symbols: Err("hidden".into()) };
        assert_eq!(silent.layout(OffsetGroup::Packet).expect_err("nothing"), "no BTF");
        assert_eq!(silent.icmp_code().expect_err("nothing"), "hidden");
        let config = silent.drop_config();
        assert_eq!((config.reason_given, config.location_given, config.no_socket), (0, 0, NO_REASON));
    }
}
