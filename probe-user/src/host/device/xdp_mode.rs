//! How XDP is attached to an interface: what `--xdp auto` means, and why. It never resets a link.

use super::{Device, DeviceError, DeviceType};
use crate::model::attach::{XdpAttachment, XdpChoice};

/// What an XDP program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpPurpose {
    /// To count packets that pass, at whichever hook is cheapest.
    Count,
    /// To see passing packets at XDP.
    Observe,
    /// To drop packets.
    Drop,
}

/// How XDP is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the kernel's receive path.
    Generic,
    /// Not at all: tc at ingress does its work.
    TcInstead,
}

impl AttachMode {
    /// Returns its name in reports and documents.
    pub fn name(self) -> &'static str {
        XdpAttachment::from(self).name()
    }
}

impl From<AttachMode> for XdpAttachment {
    fn from(mode: AttachMode) -> Self {
        match mode {
            AttachMode::Native => Self::Native,
            AttachMode::Generic => Self::Generic,
            AttachMode::TcInstead => Self::Off,
        }
    }
}

/// A mode, and the reason for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChoice {
    /// The mode.
    pub mode: AttachMode,
    /// The reason, as a clause for the user.
    pub why: String,
}

/// Chooses how XDP is attached to `device` under `--xdp choice` for this purpose.
///
/// # Errors
/// [`DeviceError::LinkLayer`] if probe cannot read the packets, [`DeviceError::NoNativeXdp`] if native is requested of a
/// driver that is known to have none. A driver may still refuse: the table lists drivers, not their versions.
pub fn xdp_mode(device: &Device, choice: XdpChoice, purpose: XdpPurpose) -> Result<ModeChoice, DeviceError> {
    if let DeviceType::Other(arphrd) = device.link_layer {
        return Err(DeviceError::LinkLayer { name: device.name.clone(), arphrd });
    }
    let chosen = |mode, why: String| Ok(ModeChoice { mode, why });
    match choice {
        XdpChoice::Off => chosen(AttachMode::TcInstead, "--xdp off asks for it".to_owned()),
        XdpChoice::Generic => chosen(AttachMode::Generic, asked("generic", offload(device))),
        XdpChoice::Native if native(device) == Native::None => {
            Err(DeviceError::NoNativeXdp { name: device.name.clone(), driver: device.driver_name().to_owned() })
        }
        XdpChoice::Native => chosen(AttachMode::Native, asked("native", None)),
        XdpChoice::Auto => Ok(match (auto(device, purpose), purpose) {
            (ModeChoice { mode: AttachMode::Generic, .. }, XdpPurpose::Count) => {
                ModeChoice { mode: AttachMode::TcInstead, why: CHEAPER.into() }
            }
            (choice, _) => choice,
        }),
    }
}

/// Measured on a veth (`cargo xtask bench overhead`), relative to no program at all: 1.08 to 1.15 at tc, 1.18 to 1.23 at
/// generic XDP, which copies packets without headroom.
const CHEAPER: &str = "tc at ingress counts the same, and costs passing packets less than generic XDP";

fn asked(mode: &str, cost: Option<&str>) -> String {
    let cost = cost.map(|offload| format!("; that switches {offload} off")).unwrap_or_default();
    format!("--xdp {mode} asks for it{cost}")
}

fn auto(device: &Device, purpose: XdpPurpose) -> ModeChoice {
    let driver = device.driver_name();
    let chosen = |mode, why: String| ModeChoice { mode, why };
    if let Some(offload) = offload(device) {
        let why = format!("attaching XDP would switch {offload} off, which can reset the link");
        return chosen(AttachMode::TcInstead, why);
    }
    match (native(device), purpose) {
        (Native::Veth, XdpPurpose::Drop) if device.mtu > VETH_NATIVE_MTU => chosen(
            AttachMode::Generic,
            format!(
                "native XDP on a veth takes packets of up to {VETH_NATIVE_MTU} bytes, and its MTU is {}",
                device.mtu
            ),
        ),
        (Native::Veth, XdpPurpose::Drop) => {
            chosen(AttachMode::Native, "a veth drops cheapest in its driver".to_owned())
        }
        (Native::Veth, XdpPurpose::Observe | XdpPurpose::Count) => {
            chosen(AttachMode::Generic, "native XDP on a veth slows passing packets by 15 %".to_owned())
        }
        (Native::Remakes, _) => chosen(
            AttachMode::Generic,
            format!("attaching inside {driver} re-makes its queues, which can reset the link"),
        ),
        (Native::None, _) => chosen(AttachMode::Generic, format!("{driver} has no native XDP")),
        (Native::Unknown, _) => {
            chosen(AttachMode::Generic, format!("whether {driver} takes native XDP without a link reset is not known"))
        }
    }
}

/// Returns the offload that attaching generic XDP would switch off.
fn offload(device: &Device) -> Option<&'static str> {
    if device.lro {
        Some("large receive offload")
    } else if device.hardware_gro {
        Some("GRO in hardware")
    } else {
        None
    }
}

/// The largest MTU of a veth's peer with which its driver accepts an XDP program that does not read fragments:
/// `veth_xdp_set` in `drivers/net/veth.c` wants a packet in one page of 4096 bytes, less 256 bytes of headroom, 2 of
/// alignment, 320 of bookkeeping and 14 of Ethernet header. The peer may be in another namespace, so its MTU is assumed to
/// be ours.
pub const VETH_NATIVE_MTU: u32 = 3504;

/// How a driver supports native XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Native {
    /// It supports it, and attaching disturbs nothing.
    Veth,
    /// It supports it, and attaching rebuilds its queues.
    Remakes,
    /// It does not support it.
    None,
    /// Not in the table.
    Unknown,
}

/// Drivers and kinds of virtual interface, by name. A driver may be listed under [`Native::Remakes`] although it gained
/// native XDP only in a later version: `auto` chooses the same for it as for one without.
const NATIVE: [(Native, &[&str]); 3] = [
    (Native::Veth, &["veth"]),
    (
        Native::Remakes,
        &[
            "atlantic",
            "bnxt_en",
            "bond",
            "cpsw",
            "dpaa2-eth",
            "ena",
            "enetc",
            "fec",
            "gve",
            "hv_netvsc",
            "i40e",
            "ice",
            "idpf",
            "igb",
            "igc",
            "ionic",
            "ixgbe",
            "ixgbevf",
            "lan966x-switch",
            "mana",
            "mlx4_en",
            "mlx5_core",
            "mvneta",
            "mvpp2",
            "netvsc",
            "nfp",
            "qede",
            "sfc",
            "stmmac",
            "thunder-nicvf",
            "tsnep",
            "virtio_net",
            "vmxnet3",
        ],
    ),
    (
        Native::None,
        &[
            "bridge",
            "cdc_ether",
            "cdc_ncm",
            "dummy",
            "e100",
            "e1000",
            "e1000e",
            "geneve",
            "gre",
            "gretap",
            "hsr",
            "ifb",
            "ip6gre",
            "ip6gretap",
            "ip6tnl",
            "ipip",
            "ipvlan",
            "ipvtap",
            "macsec",
            "macvlan",
            "macvtap",
            "ppp",
            "r8152",
            "r8169",
            "sit",
            "tg3",
            "vlan",
            "vrf",
            "vti",
            "vti6",
            "vxlan",
            "wireguard",
            "xfrm",
        ],
    ),
];

/// Looks the device up in the table, by kind if it has one: the driver of a VLAN calls itself "802.1Q VLAN Support".
fn native(device: &Device) -> Native {
    if device.loopback {
        return Native::None;
    }
    let listed = |name: &str| NATIVE.iter().find(|(_, names)| names.contains(&name)).map(|(native, _)| *native);
    let names = [device.kind.as_deref(), device.driver.as_deref()];
    names.into_iter().flatten().find_map(listed).unwrap_or(Native::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(driver: &str) -> Device {
        Device { name: "eth0".into(), driver: Some(driver.to_owned()), mtu: 1500, ..Device::default() }
    }

    fn chosen(device: &Device, choice: XdpChoice, purpose: XdpPurpose) -> (AttachMode, String) {
        let choice = xdp_mode(device, choice, purpose).expect("a choice");
        (choice.mode, choice.why)
    }

    #[test]
    fn auto_is_this_table() {
        use XdpPurpose::{Count, Drop, Observe};
        let lo = Device { loopback: true, driver: None, ..device("") };
        let vlan = Device { kind: Some("vlan".into()), ..device("802.1Q VLAN Support") };
        let with_lro = Device { lro: true, ..device("ixgbe") };
        let with_hardware_gro = Device { hardware_gro: true, ..device("virtio_net") };
        let wide_veth = Device { mtu: 9000, ..device("veth") };
        let veth_in_lro = Device { lro: true, ..device("veth") };
        let rows = [
            (&device("veth"), Observe, AttachMode::Generic, "slows passing packets"),
            (&device("veth"), Drop, AttachMode::Native, "drops cheapest"),
            (&wide_veth, Drop, AttachMode::Generic, "its MTU is 9000"),
            (&wide_veth, Observe, AttachMode::Generic, "slows passing packets"),
            (&veth_in_lro, Drop, AttachMode::TcInstead, "large receive offload"),
            (&lo, Observe, AttachMode::Generic, "loopback has no native XDP"),
            (&vlan, Drop, AttachMode::Generic, "802.1Q VLAN Support has no native XDP"),
            (&device("ena"), Observe, AttachMode::Generic, "re-makes its queues"),
            (&device("mlx5_core"), Drop, AttachMode::Generic, "can reset the link"),
            (&device("virtio_net"), Drop, AttachMode::Generic, "inside virtio_net"),
            (&with_lro, Observe, AttachMode::TcInstead, "large receive offload"),
            (&with_lro, Drop, AttachMode::TcInstead, "can reset the link"),
            (&with_hardware_gro, Observe, AttachMode::TcInstead, "GRO in hardware"),
            (&device("dummy"), Observe, AttachMode::Generic, "dummy has no native XDP"),
            (&device("veth"), Count, AttachMode::TcInstead, "costs passing packets less"),
            (&lo, Count, AttachMode::TcInstead, "costs passing packets less"),
            (&device("ena"), Count, AttachMode::TcInstead, "costs passing packets less"),
            (&with_lro, Count, AttachMode::TcInstead, "large receive offload"),
            (&device("brandnew"), Drop, AttachMode::Generic, "is not known"),
        ];
        for (device, purpose, mode, why) in rows {
            let (got, because) = chosen(device, XdpChoice::Auto, purpose);
            assert_eq!(got, mode, "{:?} {purpose:?}: {because}", device.driver);
            assert!(because.contains(why), "{:?} {purpose:?}: {because}", device.driver);
        }
    }

    #[test]
    fn what_is_asked_for_is_done_and_its_cost_is_told() {
        let card = Device { lro: true, ..device("ena") };
        assert_eq!(chosen(&card, XdpChoice::Native, XdpPurpose::Observe).0, AttachMode::Native);
        assert_eq!(chosen(&card, XdpChoice::Off, XdpPurpose::Drop).0, AttachMode::TcInstead);
        let (mode, why) = chosen(&card, XdpChoice::Generic, XdpPurpose::Observe);
        assert_eq!(mode, AttachMode::Generic);
        assert!(why.ends_with("switches large receive offload off"), "{why}");
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let lo = Device { name: "lo".into(), loopback: true, ..Device::default() };
        let error = xdp_mode(&lo, XdpChoice::Native, XdpPurpose::Drop).expect_err("lo has no native XDP");
        assert_eq!(error.to_string(), "'lo' has no native XDP (loopback)");
        let infiniband = Device { name: "ib0".into(), link_layer: DeviceType::Other(32), ..Device::default() };
        for choice in [XdpChoice::Auto, XdpChoice::Generic, XdpChoice::Off] {
            assert!(matches!(
                xdp_mode(&infiniband, choice, XdpPurpose::Observe),
                Err(DeviceError::LinkLayer { arphrd: 32, .. })
            ));
        }
    }

    #[test]
    fn no_driver_is_listed_twice() {
        let names: Vec<&str> = NATIVE.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let distinct: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len());
    }
}
