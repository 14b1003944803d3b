//! The log of the kernel programs. If it is off, the verifier removes it; under `-vv` it goes where the rest of the log
//! goes.

use std::sync::atomic::{AtomicU8, Ordering};

use aya::Ebpf;
use aya_log::EbpfLogger;

/// The frozen log level of programs that are loaded from now on; 0 is off.
static LEVEL: AtomicU8 = AtomicU8::new(0);

/// Makes programs that are loaded from now on log each echo packet.
pub fn turn_on() {
    LEVEL.store(aya_log::Level::Debug as u8, Ordering::Relaxed);
}

/// Returns the level for the frozen global.
pub fn level() -> u8 {
    LEVEL.load(Ordering::Relaxed)
}

/// The reading end of the programs' log, if they have one.
pub struct KernelLog(Option<EbpfLogger<&'static dyn ::log::Log>>);

impl KernelLog {
    /// Opens the log of `programs`; silent unless [`turn_on`] was called before they were loaded.
    pub fn of(programs: &mut Ebpf) -> Self {
        let reader = (level() > 0).then(|| EbpfLogger::init(programs));
        Self(reader.and_then(|opened| opened.inspect_err(|error| tracing::warn!("no kernel log: {error}")).ok()))
    }

    /// Forwards what was logged since the last call.
    pub fn flush(&mut self) {
        if let Some(reader) = &mut self.0 {
            reader.flush();
        }
    }
}
