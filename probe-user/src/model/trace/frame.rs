//! What the kernel knows about a packet in addition to its own bytes.

use serde::{Deserialize, Serialize};

/// What the kernel kept with a packet in addition to the IP packet itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameFacts {
    /// Its firewall mark, which policy routing can match; 0: none.
    #[serde(default)]
    pub mark: u32,
    /// The MAC address that its frame was for, as `ip link` writes it.
    #[serde(default)]
    pub destination: Option<String>,
}

impl FrameFacts {
    /// Returns whether nothing was kept that not every packet has.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Returns a hardware address as `ip link` writes it.
pub fn hardware_address(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_written_as_ip_link_does() {
        assert_eq!(hardware_address(&[2, 0, 0xab, 0, 0, 9]), "02:00:ab:00:00:09");
    }
}
