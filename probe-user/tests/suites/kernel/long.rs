//! Packets of which the kernel hands over only the first part, where the rest is read through its copying helpers; and
//! over a veth pair those that `BPF_PROG_TEST_RUN` does not take.

use std::{
    io,
    os::fd::AsRawFd,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};
use probe_ebpf::{Count, Hop, Skip};
use probe_user::{
    ebpf::{
        load::{Job, Switch},
        nic::{Ingress, Watch, WatchOptions},
        trial::in_new_namespace,
    },
    host::device::Device,
    model::attach::{Attach, TcChoice, XdpChoice},
};

use super::{
    loaded::{Counted, Loaded},
    ready::ready,
    samples::{REQUEST, REQUEST6, v4, v6},
};

/// Bytes that `BPF_PROG_TEST_RUN` hands over directly on pages of 4 KiB; what follows is in further buffers.
const LINEAR: usize = 3520;

#[test]
fn packets_of_several_buffers_are_counted_whole() {
    if !ready("packets_of_several_buffers_are_counted_whole") {
        return;
    }
    let mut loaded = Loaded::new(&Job::count(&[Hop::XdpIn]));
    for size in [LINEAR - 43, LINEAR - 42, LINEAR - 41, 9_000, 30_000, 65_507] {
        let frame = v4(REQUEST, 7, 1, &vec![8; size]).bytes();
        let counted = Counted { kind: REQUEST, id: 7, bytes: frame.len() as u64 - 14 };
        loaded.expect(Hop::XdpIn, &frame, Ok(counted), &format!("{size} bytes of payload"));
    }
    loaded.check();
}

#[test]
fn headers_behind_the_first_buffer_are_read_and_where_they_end_too_early_truncated() {
    if !ready("headers_behind_the_first_buffer_are_read_and_where_they_end_too_early_truncated") {
        return;
    }
    let mut loaded = Loaded::new(&Job { track: Switch::On, ..Job::count(&[Hop::XdpIn]) });
    // Each is 2,048 bytes long: the second begins in the first buffer and ends behind it.
    for headers in 1..=8 {
        let frame = (0..headers).fold(v6(REQUEST6, 7, 1, b"payload"), |frame, _| frame.destination(&[1; 2046]));
        let (bytes, end) = (frame.bytes(), frame.message_at() + 8);
        let counted = Counted { kind: REQUEST6, id: 7, bytes: bytes.len() as u64 - 14 };
        for length in [LINEAR - 1, LINEAR, LINEAR + 1, end - 9, end - 8, end - 1, end, bytes.len()] {
            if length > bytes.len() {
                continue;
            }
            let expected = if length < end { Err(Skip::Truncated) } else { Ok(counted) };
            let about = format!("{headers} headers, cut to {length} bytes");
            loaded.expect(Hop::XdpIn, &bytes[..length], expected, &about);
        }
    }
    loaded.check();
    let flows = loaded.flows().read().expect("flows");
    assert_eq!(flows.len(), 1, "the addresses of all were read");
}

/// Two NICs with a wire between them, both watched at tc.
struct Wire {
    near: Watch,
    far: Watch,
}

impl Wire {
    /// In the network namespace of this thread.
    fn new() -> Self {
        sh("ip link add pa mtu 65535 type veth peer name pb mtu 65535 && ip link set pa up && ip link set pb up");
        let wish = WatchOptions {
            attach: Attach { xdp: XdpChoice::Off, tc: TcChoice::Auto },
            ingress: Ingress::Twice,
            egress: Switch::On,
            track: Switch::On,
            ..WatchOptions::default()
        };
        let watch = |name| Watch::attach(&Device::find(name).expect("it was made"), &wish).expect("it can be watched");
        Self { near: watch("pa"), far: watch("pb") }
    }

    /// Waits until the far end has seen what the near end has sent.
    fn settle(&self, mut arrived: impl FnMut(&Watch) -> bool) {
        let end = Instant::now() + Duration::from_secs(2);
        while !arrived(&self.far) {
            assert!(Instant::now() < end, "it does not arrive: {:?}", self.far.skips());
            sleep(Duration::from_millis(5));
        }
    }
}

/// Of a frame that is longer than a page, a packet socket puts no more than the Ethernet header into the first part.
#[test]
fn tc_reads_frames_of_which_only_the_ethernet_header_is_at_hand() {
    if !ready("tc_reads_frames_of_which_only_the_ethernet_header_is_at_hand") {
        return;
    }
    in_new_namespace(|| {
        let mut wire = Wire::new();
        send("pa", &v4(REQUEST, 7, 1, &[8; 9000]).bytes());
        let chain = (0..8).fold(v6(REQUEST6, 7, 1, b"payload"), |frame, _| frame.destination(&[1; 2046]));
        send("pa", &chain.bytes());
        let bytes = [(REQUEST, 9028), (REQUEST6, chain.ip_bytes().len() as u64)];
        for (kind, bytes) in bytes {
            let one = Some(Count { packets: 1, bytes });
            assert_eq!(wire.near.count(Hop::TcOut, kind, 7), one, "{kind:?}");
            wire.settle(|far| far.count(Hop::TcIn, kind, 7) == one);
        }
        for watch in [&mut wire.near, &mut wire.far] {
            assert_eq!(watch.skips().expect("skips"), [].into());
            assert_eq!(watch.flows().expect("flows").read().expect("flows").len(), 2);
        }
    })
    .expect("a namespace");
}

#[test]
fn tc_skips_frames_that_end_in_their_ip_header() {
    if !ready("tc_skips_frames_that_end_in_their_ip_header") {
        return;
    }
    in_new_namespace(|| {
        let wire = Wire::new();
        let mut sent = 0;
        for (frame, end) in [(v4(REQUEST, 7, 1, b"").bytes(), 42), (v6(REQUEST6, 7, 1, b"").bytes(), 62)] {
            for length in 15..end {
                send("pa", &frame[..length]);
                sent += 1;
            }
        }
        let truncated = [(Skip::Truncated, sent)].into();
        assert_eq!(wire.near.skips().expect("skips"), truncated);
        wire.settle(|far| far.skips().expect("skips") == truncated);
        for kind in [REQUEST, REQUEST6] {
            assert_eq!(wire.near.count(Hop::TcOut, kind, 7), Some(Count::default()));
            assert_eq!(wire.far.count(Hop::TcIn, kind, 7), Some(Count::default()));
        }
    })
    .expect("a namespace");
}

fn sh(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().expect("sh is there");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sends a frame as it is.
fn send(interface: &str, frame: &[u8]) {
    let device = Device::find(interface).expect("the interface");
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None).expect("root can");
    // SAFETY: the address is plain data of integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = device.ifindex as i32;
    // SAFETY: the frame and the address outlive the call, and their lengths are told.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    };
    assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
}
