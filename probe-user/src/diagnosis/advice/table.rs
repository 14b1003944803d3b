//! The table of advice. The first row that fits is given: rows with a reason come before those without.
//!
//! Words in braces are filled in; a command with one that isn't known is left out.

use crate::diagnosis::places::DropPoint;

/// What a stop at a place, for a reason, means, and what mends it.
#[derive(Debug)]
pub struct Advice {
    /// Where; empty: anywhere.
    pub place: &'static [DropPoint],
    /// For which reason; empty: any; a prefix where it ends in `*`.
    pub reason: &'static str,
    /// What it means, as a sentence.
    pub meaning: &'static str,
    /// What to type on that host.
    pub commands: &'static [&'static str],
}

const fn of(
    place: &'static [DropPoint],
    reason: &'static str,
    meaning: &'static str,
    commands: &'static [&'static str],
) -> Advice {
    Advice { place, reason, meaning, commands }
}

use DropPoint::{
    Answer, Bridge, Call, CgroupIn, CgroupOut, Decapsulation, DriverIn, DriverOut, Encapsulation, FragmentOut, Icmp,
    IpHeader, Neighbour, Network, NfEgress, NfForward, NfIngress, NfInput, NfOutput, NfPostrouting, NfPrerouting,
    Qdisc, RateLimit, Reassembly, Reroute, RouteBack, RouteIn, SocketBuffer, SocketFilter, SocketLookup, Source, TcIn,
    TcOut, TunProgram, Xdp,
};

/// Every advice; the last row fits everything.
pub const TABLE: &[Advice] = &[
    of(
        &[],
        "PROBE_FILTER",
        "A rule of probe's own filter, or its guard, drops these packets.",
        &["probe filter list -I {iface}", "probe filter clear -I {iface}"],
    ),
    of(
        &[NfPrerouting],
        "NAT_NOT_UNDONE",
        "A host that rewrites the source of requests must see their replies in the same conntrack zone, tracked, and \
         as its entry expects them; otherwise it takes them for its own.",
        &["conntrack -L -p icmp", "nft list ruleset | grep -n 'zone\\|notrack'"],
    ),
    of(
        &[Call],
        "EHOSTUNREACH",
        "The route to the target is of type unreachable.",
        &["ip {-6} route get {target}", "ip {-6} route show; ip {-6} rule"],
    ),
    of(
        &[Call],
        "EINVAL",
        "The route to the target is of type blackhole.",
        &["ip {-6} route show type blackhole", "ip {-6} rule"],
    ),
    of(
        &[Call],
        "EACCES",
        "The route to the target is of type prohibit.",
        &["ip {-6} route show type prohibit", "ip {-6} rule"],
    ),
    of(
        &[Call],
        "ENETUNREACH",
        "There is no route to the target, or the interface that it uses is down.",
        &["ip {-6} route get {target}", "ip -br link"],
    ),
    of(
        &[Call],
        "EPERM",
        "An IPsec policy, which the kernel checks before any firewall, does not let the host send there.",
        &["ip xfrm policy", "cat /proc/net/xfrm_stat"],
    ),
    of(
        &[],
        "Xfrm.*",
        "An IPsec policy forbids them, or requires encryption.",
        &["ip xfrm policy", "cat /proc/net/xfrm_stat"],
    ),
    of(
        &[],
        "XFRM_POLICY",
        "An IPsec policy forbids them, or requires encryption: they are plain, or came through another state (SA) than \
         it names.",
        &["ip xfrm policy", "cat /proc/net/xfrm_stat"],
    ),
    of(
        &[IpHeader],
        "IPV6DISABLED",
        "IPv6 is disabled on the device at which they arrive: disable_ipv6=1.",
        &["sysctl net.ipv6.conf.{iface}.disable_ipv6", "sysctl -w net.ipv6.conf.{iface}.disable_ipv6=0"],
    ),
    of(
        &[Encapsulation],
        "",
        "The tunnel device does not encapsulate them.",
        &["ip -d -s link show type vxlan", "bridge fdb show"],
    ),
    of(&[Decapsulation], "", "No tunnel there accepts these packets.", &["ip -d -s link show type vxlan", "ss -lun"]),
    of(
        &[Reroute],
        "",
        "A chain in hook output changes a field that routing depends on, so the kernel routes them again, and routing \
         refuses them.",
        &["ip {-6} rule", "ip {-6} route show table all"],
    ),
    of(
        &[Call],
        "",
        "The packets never entered the IP layer; if the send call failed, its error says why.",
        &["ip {-6} route get {target}"],
    ),
    of(
        &[Source],
        "EADDRNOTAVAIL",
        "The source address that was asked for is not an address of this host.",
        &["ip {-6} -br addr"],
    ),
    of(
        &[Source],
        "",
        "The send buffer stayed full: the device takes packets too slowly.",
        &["tc -s qdisc show dev {iface}"],
    ),
    of(
        &[FragmentOut],
        "",
        "The packet is longer than the way out allows, and it must not be fragmented.",
        &["ip link show dev {iface}", "ip {-6} route get {target}"],
    ),
    of(
        &[NfOutput, NfPostrouting, NfPrerouting, NfInput, NfForward],
        "NETFILTER_DROP",
        "A firewall rule in hook {hook} drops them, or the policy of its chain does.",
        &[
            "{nft} list chain {family} {table} {chain}",
            "{iptables} -t {table} -S {chain}",
            "nft list ruleset",
            "iptables-save -c",
        ],
    ),
    of(
        &[NfOutput, NfPostrouting, NfPrerouting, NfInput, NfForward],
        "",
        "They enter netfilter's hook {hook} and do not leave it: a rule, a policy or connection tracking drops them.",
        &[
            "{nft} list chain {family} {table} {chain}",
            "{iptables} -t {table} -S {chain}",
            "nft list ruleset",
            "conntrack -S",
        ],
    ),
    of(
        &[NfIngress, NfEgress],
        "",
        "An nftables chain of the device, in hook {hook}, drops them.",
        &["{nft} list chain {family} {table} {chain}", "{iptables} -t {table} -S {chain}", "nft list ruleset netdev"],
    ),
    of(
        &[Bridge],
        "NETFILTER_DROP",
        "An nftables chain of the bridge family drops them.",
        &["nft list chain {family} {table} {chain}", "nft list ruleset bridge"],
    ),
    of(
        &[Bridge],
        "",
        "The bridge drops them itself, or an nftables chain of the bridge family does.",
        &["nft list ruleset bridge", "bridge link", "bridge fdb show"],
    ),
    of(&[CgroupOut, CgroupIn], "", "A cgroup program drops them.", &["bpftool cgroup tree"]),
    of(
        &[Neighbour],
        "",
        "Nobody answers ARP or neighbour discovery for the next hop.",
        &["ip {-6} neigh show dev {iface}", "ip {-6} route get {other}"],
    ),
    of(
        &[TcOut],
        "",
        "A tc filter or program at egress drops them.",
        &["tc -s filter show dev {iface} egress", "bpftool net show dev {iface}"],
    ),
    of(
        &[TcIn],
        "",
        "A tc filter or program at ingress drops them.",
        &["tc -s filter show dev {iface} ingress", "bpftool net show dev {iface}"],
    ),
    of(
        &[Qdisc],
        "*.queued",
        "The queue still holds them: it lets packets go at a rate that is too low for them, or behind others.",
        &["tc -s qdisc show dev {iface}", "tc -s class show dev {iface}"],
    ),
    of(
        &[Qdisc],
        "",
        "The queue of the device is full, shapes traffic, or drops packets on purpose.",
        &["tc -s qdisc show dev {iface}"],
    ),
    of(
        &[TunProgram],
        "",
        "The kernel hands what leaves through this device to {program}, and what becomes of it is up to that program.",
        &["ip -d -s link show dev {iface}", "ss -anp"],
    ),
    of(
        &[DriverOut],
        "DOWN",
        "The device is set down, so nothing leaves through it.",
        &["ip link set dev {iface} up", "ip -br link show dev {iface}"],
    ),
    of(&[DriverOut], "", "The device does not send them.", &["ip -s -s link show dev {iface}", "ethtool -S {iface}"]),
    of(
        &[DriverIn],
        "",
        "The device drops them as they arrive.",
        &["ip -s -s link show dev {iface}", "ethtool -S {iface}"],
    ),
    of(
        &[Xdp],
        "",
        "An XDP program drops them at the device: the rest of the kernel never sees them.",
        &["ip -d link show dev {iface}", "bpftool net show dev {iface}"],
    ),
    of(
        &[IpHeader],
        "OTHERHOST",
        "The frames carry another host's MAC address, so the IP layer discards them.",
        &["ip -br link show dev {iface}", "tcpdump -eni {iface} -c 4 'icmp or icmp6'"],
    ),
    of(&[IpHeader], "*CSUM*", "The checksum of the IP header is wrong.", &["ethtool -k {iface}"]),
    of(&[IpHeader], "", "Their IP header is rejected.", &["nstat -az | grep -E 'Ip6?(In|Ext)'"]),
    of(
        &[RouteIn],
        "IP_RPFILTER",
        "The reverse path filter drops them: the route back to the source leaves through another device.",
        &[
            "ip {-6} route get {other}",
            "sysctl -a --pattern '{ipv}.conf.*.rp_filter'",
            "sysctl -w net.{ipv}.conf.{iface}.rp_filter=2",
        ],
    ),
    of(
        &[RouteIn],
        "rp_filter",
        "The reverse path filter is strict here, and may be what drops them.",
        &["ip {-6} route get {other}", "sysctl -a --pattern '{ipv}.conf.*.rp_filter'"],
    ),
    of(
        &[RouteIn],
        "*IPReversePathFilter",
        "The reverse path filter: the route back to the source leads elsewhere.",
        &["ip {-6} route get {other}", "sysctl -a --pattern '{ipv}.conf.*.rp_filter'"],
    ),
    of(
        &[RouteIn],
        "IP_INADDRERRORS",
        "The destination is not an address of this host, and the host does not forward.",
        &["ip {-6} -br addr", "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding"],
    ),
    of(
        &[RouteIn],
        "IP_INVALID_SOURCE",
        "The source address is not allowed to arrive here: a martian.",
        &["ip {-6} route get {other}", "sysctl -w net.ipv4.conf.all.log_martians=1; dmesg | tail"],
    ),
    of(
        &[RouteIn],
        "IP_LOCAL_SOURCE",
        "They arrive from outside with one of this host's own addresses as their source.",
        &["ip {-6} -br addr"],
    ),
    of(
        &[RouteIn],
        "IP_LOCALNET",
        "Packets with an address in 127/8 may neither arrive from outside nor leave the host, unless route_localnet of \
         the device is 1.",
        &["sysctl net.ipv4.conf.all.route_localnet net.ipv4.conf.{iface}.route_localnet"],
    ),
    of(
        &[RouteIn],
        "TTL",
        "Each of the routers takes another of them for the next hop, so the packet never arrives.",
        &["ip {-6} route get {target}", "ip {-6} route show"],
    ),
    of(
        &[RouteIn],
        "",
        "Routing on this host does not accept them: not its address, no route, or a refused source.",
        &["ip {-6} -br addr", "ip {-6} route get {other}", "sysctl -a --pattern '{ipv}.conf.*.rp_filter'"],
    ),
    of(
        &[Reassembly],
        "",
        "They arrive in fragments, and not all of the fragments arrive.",
        &["nstat -az | grep -i reasm", "ip link show dev {iface}"],
    ),
    of(
        &[Icmp],
        "ICMP_CSUM",
        "Their ICMP checksum is wrong: something damages them, or computes it wrongly.",
        &["ethtool -k {iface} | grep checksum"],
    ),
    of(&[Icmp], "", "The kernel's ICMP discards them.", &["nstat -az | grep -i icmp"]),
    of(
        &[Answer],
        "icmp_echo_ignore_broadcasts",
        "The host does not answer pings to broadcast addresses.",
        &["sysctl -w {setting}=0"],
    ),
    of(&[Answer], "*echo_ignore*", "The host is configured not to answer pings.", &["sysctl -w {setting}=0"]),
    of(
        &[Answer],
        "",
        "The kernel accepted the requests and made no reply.",
        &["sysctl -a --pattern 'icmp.*(ignore|rate)'", "ip {-6} route get {other}"],
    ),
    of(
        &[RouteBack],
        "fwmark_reflect",
        "An answer takes the mark of its request with it, and what that mark leads to ends it.",
        &["sysctl -w {setting}=0", "ip {-6} rule", "nft list ruleset | grep -n 'mark set'"],
    ),
    of(
        &[RouteBack],
        "",
        "The host tried to answer but has no route back to the sender.",
        &["ip {-6} route get {other}", "ip {-6} rule"],
    ),
    of(
        &[RateLimit],
        "*OutErrors",
        "Each processor has one socket for ICMP: other answers are waiting in a queue and fill its buffer.",
        &["tc -s qdisc show", "ip {-6} neigh show nud incomplete", "nstat -az | grep OutErrors"],
    ),
    of(
        &[RateLimit],
        "icmp_ratemask",
        "The host limits how many ICMP messages it sends to any one host, and {setting} includes echo replies (bit 0).",
        &["sysctl -w {setting}=6168  # the default, without echo replies", "sysctl net.ipv4.icmp_ratelimit {setting}"],
    ),
    of(
        &[RateLimit],
        "ratemask",
        "The host limits how many ICMP messages it sends to any one host, and {setting} includes echo replies (129).",
        &[
            "sysctl -w {setting}=0-1,3-127  # the default, without echo replies",
            "sysctl net.ipv6.icmp.ratelimit {setting}",
        ],
    ),
    of(
        &[RateLimit],
        "*OutRateLimitGlobal",
        "The host limits how many ICMP messages it sends in total, and echo replies are among them.",
        &[
            "sysctl net.ipv4.icmp_msgs_per_sec net.ipv4.icmp_msgs_burst",
            "sysctl -w net.ipv4.icmp_msgs_per_sec=10000 net.ipv4.icmp_msgs_burst=500",
        ],
    ),
    of(
        &[RateLimit],
        "Icmp6.OutRateLimitHost",
        "The host limits how many ICMP messages it sends to any one host, and echo replies are among them.",
        &["sysctl net.ipv6.icmp.ratelimit net.ipv6.icmp.ratemask", "sysctl -w net.ipv6.icmp.ratemask=0-1,3-127"],
    ),
    of(
        &[RateLimit],
        "*OutRateLimitHost",
        "The host limits how many ICMP messages it sends to any one host, and echo replies are among them.",
        &["sysctl net.ipv4.icmp_ratelimit net.ipv4.icmp_ratemask", "sysctl -w net.ipv4.icmp_ratemask=6168"],
    ),
    of(
        &[RateLimit],
        "",
        "The host may limit how many ICMP messages it sends, with echo replies among them; or something that was not looked \
         up keeps it from answering.",
        &["sysctl -a --pattern 'icmp.*rate'", "nstat -az | grep -i ratelimit"],
    ),
    of(
        &[SocketLookup],
        "SO_BINDTODEVICE",
        "The socket is bound to one device (-I), and the kernel gives it only what arrives there; ping loses these \
         too.",
        &["ip -br {-6} addr", "ip {-6} route get {target}"],
    ),
    of(
        &[Neighbour],
        "SO_BINDTODEVICE",
        "A host reaches its own addresses through lo, and a socket that is bound to another device (-I) does not go \
         there; ping loses these too.",
        &["ip -br {-6} addr", "ip {-6} route get {target}"],
    ),
    of(
        &[SocketLookup],
        "CONNECTED",
        "The socket is connected (-C), and the kernel gives it only what comes from that address; ping -C loses these too.",
        &["ip {-6} route get {target}"],
    ),
    of(
        &[SocketLookup],
        "ECHO_ID",
        "Whoever rewrote the id of the requests did not undo that on the way back; ping loses these too.",
        &["conntrack -L -p icmp"],
    ),
    of(&[SocketLookup], "", "None of the program's sockets matches them.", &["ss -a0; ss -aw"]),
    of(
        &[SocketFilter],
        "",
        "A filter on the receiving socket, or a cgroup program, drops them.",
        &["ss -0 -w -p -e", "bpftool cgroup tree"],
    ),
    of(
        &[SocketBuffer],
        "",
        "The buffer of the receiving socket is full: its program reads too slowly.",
        &["cat {netstat}", "ss -w -m -p"],
    ),
    of(&[Network], "icmp 3/4", "A link on the way is too small for them; {from} says so.", &["tracepath {target}"]),
    of(&[Network], "icmpv6 2/0", "A link on the way is too small for them; {from} says so.", &["tracepath {target}"]),
    of(
        &[Network],
        "TTL",
        "Each of these routers takes another of them for the next hop, so the packet never arrives.",
        &["traceroute -n {target}"],
    ),
    of(&[Network], "icmp*", "{from} refuses them and says why: {said}.", &["traceroute -n {target}"]),
    of(
        &[Network],
        "NO-CARRIER",
        "The far end's device is up but has no carrier: the other end of its cable is off, or the cable is unplugged.",
        &["probe diagnose {typed} --walk"],
    ),
    of(
        &[Network],
        "EADDRNOTAVAIL",
        "The far end that was watched does not have the address: it is another host's, or was removed.",
        &["ip neigh show {target}", "probe diagnose {typed} --walk"],
    ),
    of(
        &[Network],
        "",
        "They are lost between the two hosts, and nobody reported why.",
        &["probe diagnose {typed} --walk"],
    ),
    of(&[], "", "", &[]),
];
