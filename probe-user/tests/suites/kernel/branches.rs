//! Every branch of the packet parser, in the kernel: at each hop, whole and cut at every length that the kernel takes.

use probe_ebpf::{Family, Hop, Skip, packet::LinkLayer};
use probe_user::ebpf::load::Job;

use super::{
    loaded::{ALL_HOPS, Counted, Loaded, can_be_run},
    ready::ready,
    samples::{REQUEST, REQUEST6, echoes, others, plain, skipped, v4, v6},
};

#[test]
fn every_echo_packet_is_counted_at_every_hop_and_passed() {
    if !ready("every_echo_packet_is_counted_at_every_hop_and_passed") {
        return;
    }
    let mut loaded = Loaded::new(&Job::count(&ALL_HOPS));
    for hop in ALL_HOPS {
        for sample in echoes() {
            loaded.expect(hop, &sample.frame, Ok(sample.counted), &sample.name);
        }
    }
    loaded.check();
}

#[test]
fn an_echo_packet_cut_in_its_headers_is_truncated_and_cut_behind_them_counted() {
    if !ready("an_echo_packet_cut_in_its_headers_is_truncated_and_cut_behind_them_counted") {
        return;
    }
    let mut loaded = Loaded::new(&Job::count(&ALL_HOPS));
    for hop in ALL_HOPS {
        for sample in echoes() {
            let lengths = 0..sample.frame.len();
            for length in lengths.filter(|length| can_be_run(hop, &sample.frame[..*length])) {
                let expected = if length < sample.headers { Err(Skip::Truncated) } else { Ok(sample.counted) };
                let about = format!("{} cut to {length} bytes", sample.name);
                loaded.expect(hop, &sample.frame[..length], expected, &about);
            }
        }
    }
    loaded.check();
}

#[test]
fn what_cannot_be_read_is_passed_and_counted_by_cause() {
    if !ready("what_cannot_be_read_is_passed_and_counted_by_cause") {
        return;
    }
    let mut loaded = Loaded::new(&Job::count(&ALL_HOPS));
    for hop in ALL_HOPS {
        for (name, frame, skip) in skipped() {
            loaded.expect(hop, &frame, Err(skip), name);
        }
    }
    loaded.check();
}

#[test]
fn what_is_no_echo_is_passed_and_counted_nowhere() {
    if !ready("what_is_no_echo_is_passed_and_counted_nowhere") {
        return;
    }
    let mut loaded = Loaded::new(&Job::count(&ALL_HOPS));
    for hop in ALL_HOPS {
        for (name, frame) in others() {
            loaded.expect(hop, &frame, Err(Skip::NotEcho), name);
        }
    }
    loaded.check();
}

#[test]
fn a_hop_counts_in_its_own_tally_only() {
    if !ready("a_hop_counts_in_its_own_tally_only") {
        return;
    }
    for hop in ALL_HOPS {
        let mut loaded = Loaded::new(&Job::count(&ALL_HOPS));
        for id in [0, 1, 0x7fff, 0x8000, 0xffff] {
            let counted = Counted { kind: REQUEST, id, bytes: 35 };
            loaded.expect(hop, &plain(REQUEST, id), Ok(counted), "a request");
        }
        loaded.check();
    }
}

#[test]
fn a_program_for_one_ip_version_takes_the_others_echo_for_none() {
    if !ready("a_program_for_one_ip_version_takes_the_others_echo_for_none") {
        return;
    }
    for only in [Family::V4, Family::V6] {
        let mut loaded = Loaded::new(&Job { only: Some(only), ..Job::count(&ALL_HOPS) });
        for hop in ALL_HOPS {
            for sample in echoes() {
                let wanted = sample.counted.kind.family == only;
                let expected = if wanted { Ok(sample.counted) } else { Err(Skip::NotEcho) };
                loaded.expect(hop, &sample.frame, expected, &sample.name);
            }
        }
        loaded.check();
    }
}

#[test]
fn a_tunnel_s_packets_are_read_from_the_ip_header_on() {
    if !ready("a_tunnel_s_packets_are_read_from_the_ip_header_on") {
        return;
    }
    let hops = [Hop::TcIn, Hop::TcOut, Hop::XdpIn];
    let mut loaded = Loaded::new(&Job { link_layer: LinkLayer::RawIp, ..Job::count(&hops) });
    let packets = [
        (v4(REQUEST, 5, 1, b"payload").options(&[1]).ip_bytes(), REQUEST, 24 + 8),
        (v6(REQUEST6, 6, 1, b"payload").hop_by_hop(&[]).ip_bytes(), REQUEST6, 48 + 8),
    ];
    for hop in hops {
        for (id, (packet, kind, headers)) in (5..).zip(&packets) {
            for length in (0..=packet.len()).filter(|length| can_be_run(hop, &packet[..*length])) {
                let counted = Counted { kind: *kind, id, bytes: packet.len() as u64 };
                let expected = if length < *headers { Err(Skip::Truncated) } else { Ok(counted) };
                loaded.expect(hop, &packet[..length], expected, &format!("cut to {length} bytes"));
            }
        }
        // Begins with a 2, which is no IP version.
        loaded.expect(hop, &plain(REQUEST, 5), Err(Skip::NotEcho), "an Ethernet frame");
    }
    loaded.check();
}
