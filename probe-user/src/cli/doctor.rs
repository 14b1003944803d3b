//! `probe doctor`.

use clap::Args;

/// Check what probe needs: kernel, privileges, interfaces, file systems, programs.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Check only this interface [default: all]
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
}
