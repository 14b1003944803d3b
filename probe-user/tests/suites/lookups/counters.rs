//! Counters that rise with a loss.

use std::net::SocketAddr;

use probe_ebpf::{Echo, Family, Kind};
use probe_user::{
    lab::{LabHost, Nic, Topology},
    traffic::EchoMessage,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::bench::{ID, found, lab, rise, run, send, set, settle, warm_up};

#[test]
fn nothing_rises_with_a_healthy_ping() {
    let Some(lab) = lab("nothing_rises_with_a_healthy_ping") else { return };
    warm_up(&lab);
    for family in lab.families() {
        for host in LabHost::ALL {
            let findings = found(&lab, host, *family, || {
                assert!(send(&lab, LabHost::A, LabHost::B, *family, Echo::Request, 5));
                settle();
            });
            let counters: Vec<_> =
                findings.iter().filter(|finding| format!("{finding:?}").starts_with("Counter")).collect();
            assert!(counters.is_empty(), "{family:?} {host:?}: {counters:?}");
        }
    }
}

#[test]
fn replies_that_the_rate_limit_ends_are_counted() {
    let Some(lab) = lab("replies_that_the_rate_limit_ends_are_counted") else { return };
    warm_up(&lab);
    set(lab.netns(LabHost::B), "net/ipv4/icmp_ratemask", "1");
    set(lab.netns(LabHost::B), "net/ipv4/icmp_ratelimit", "60000");
    let findings = found(&lab, LabHost::B, Family::V4, || {
        assert!(send(&lab, LabHost::A, LabHost::B, Family::V4, Echo::Request, 20));
        settle();
    });
    let limited = rise(&findings, "Icmp.OutRateLimitHost") + rise(&findings, "Icmp.OutRateLimitGlobal");
    assert!(limited > 0, "{findings:?}");
}

#[test]
fn requests_that_the_reverse_path_filter_ends_are_counted() {
    let Some(lab) = lab("requests_that_the_reverse_path_filter_ends_are_counted") else { return };
    warm_up(&lab);
    set(lab.netns(LabHost::B), "net/ipv4/conf/all/rp_filter", "1");
    run(lab.netns(LabHost::B), "ip -4 route del default");
    let findings = found(&lab, LabHost::B, Family::V4, || {
        assert!(send(&lab, LabHost::A, LabHost::B, Family::V4, Echo::Request, 3));
        settle();
    });
    assert_eq!(rise(&findings, "TcpExt.IPReversePathFilter"), 3, "{findings:?}");
}

#[test]
fn requests_without_a_route_at_the_router_are_counted() {
    let Some(lab) = lab("requests_without_a_route_at_the_router_are_counted") else { return };
    warm_up(&lab);
    for family in lab.families() {
        let (flag, net, name) = match family {
            Family::V4 => ("-4", "10.78.0.0/24", "Ip.OutNoRoutes"),
            Family::V6 => ("-6", "fd77:0:0:b::/64", "Ip6.InNoRoutes"),
        };
        run(lab.netns(LabHost::Fw), &format!("ip {flag} route del {net} dev b"));
        let findings = found(&lab, LabHost::Fw, *family, || {
            assert!(send(&lab, LabHost::A, LabHost::B, *family, Echo::Request, 3));
            settle();
        });
        let rose = rise(&findings, name) + rise(&findings, "IpExt.InNoRoutes");
        assert_eq!(rose, 3, "{family:?}: {findings:?}");
    }
}

#[test]
fn what_a_full_socket_loses_is_counted() {
    let Some(lab) = lab("what_a_full_socket_loses_is_counted") else { return };
    warm_up(&lab);
    set(lab.netns(LabHost::A), "net/ipv4/ping_group_range", "0 2147483647");
    let rows = [
        (Family::V4, Type::RAW, "raw.drops"),
        (Family::V4, Type::DGRAM, "icmp.drops"),
        (Family::V6, Type::RAW, "raw6.drops"),
        (Family::V6, Type::DGRAM, "icmp6.drops"),
    ];
    for (family, kind, name) in rows.into_iter().filter(|(family, ..)| lab.families().contains(family)) {
        let mut socket = None;
        let findings = found(&lab, LabHost::A, family, || {
            socket = Some(flood(&lab, family, kind));
            settle();
        });
        assert!(rise(&findings, name) > 0, "{name}: {findings:?}");
    }
}

/// Sends forty pings over a socket that has room for a few replies and reads none.
fn flood(lab: &Topology, family: Family, kind: Type) -> Socket {
    let (domain, protocol) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let open = || {
        let socket = Socket::new(domain, kind, Some(protocol)).expect("a socket");
        socket.set_recv_buffer_size(1).expect("as small as may be");
        let to = SocketAddr::new(LabHost::B.address(family), 0).into();
        for seq in 1..=40 {
            let message = EchoMessage::new(Kind { family, echo: Echo::Request }, ID, seq, &[0; 56]);
            socket.send_to(&message.bytes_v4(), &to).expect("sent");
        }
        socket
    };
    lab.netns(LabHost::A).run(open).expect("inside")
}

#[test]
fn what_a_queue_drops_is_counted() {
    let Some(lab) = lab("what_a_queue_drops_is_counted") else { return };
    warm_up(&lab);
    run(lab.netns(LabHost::A), "tc qdisc add dev eth0 root tbf rate 8kbit burst 200 limit 300");
    let findings = found(&lab, LabHost::A, Family::V4, || {
        // A queue that is full is reported to raw sockets as ENOBUFS.
        let _ = send(&lab, LabHost::A, LabHost::B, Family::V4, Echo::Request, 20);
        settle();
    });
    assert!(rise(&findings, "eth0.qdisc.tbf.drops") > 0, "{findings:?}");
}

#[test]
fn what_a_device_drops_is_counted() {
    let Some(lab) = lab("what_a_device_drops_is_counted") else { return };
    warm_up(&lab);
    let findings = found(&lab, LabHost::B, Family::V4, || {
        send_unknown_frame(&lab, Nic::FwB);
        settle();
    });
    assert_eq!(rise(&findings, "eth0.rx_dropped"), 1, "{findings:?}");
}

/// Sends a frame of a protocol that nobody takes (`ETH_P_802_EX1`) to everybody.
fn send_unknown_frame(lab: &Topology, nic: Nic) {
    let index = i32::try_from(lab.ifindex(nic)).expect("a small index");
    let mut frame = [0xff_u8; 60];
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    frame[12..14].copy_from_slice(&0x88b5_u16.to_be_bytes());
    let send = || {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).expect("a packet socket");
        socket.send_to(&frame, &link_address(index)).expect("sent")
    };
    assert_eq!(lab.netns(nic.host()).run(send).expect("inside"), 60);
}

fn link_address(index: i32) -> SockAddr {
    // SAFETY: `sockaddr_ll` is plain data that fits into the storage, and its size is what the length is set to.
    let (_, address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let address: *mut nix::libc::sockaddr_ll = storage.cast();
            (*address).sll_family = u16::try_from(nix::libc::AF_PACKET).expect("small");
            (*address).sll_ifindex = index;
            *length = u32::try_from(size_of::<nix::libc::sockaddr_ll>()).expect("small");
            Ok(())
        })
    }
    .expect("an address");
    address
}
