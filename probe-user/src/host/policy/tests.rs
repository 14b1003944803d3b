//! Tests of the walk through rules and tables, on rules and routes made by hand and on those of this host.

use netlink_packet_route::route::RouteAttribute;

use super::*;

fn rule(priority: u32, action: RuleAction, table: u32, attributes: &[RuleAttribute]) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = AddressFamily::Inet;
    rule.header.action = action;
    rule.attributes = vec![RuleAttribute::Priority(priority), RuleAttribute::Table(table)];
    rule.attributes.extend_from_slice(attributes);
    rule
}

fn route(table: u32, prefix: [u8; 4], length: u8, kind: RouteType, device: u32) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.destination_prefix_length = length;
    route.header.kind = kind;
    route.attributes = vec![
        RouteAttribute::Table(table),
        RouteAttribute::Destination(netlink_packet_route::route::RouteAddress::Inet(prefix.into())),
        RouteAttribute::Oif(device),
    ];
    route
}

fn policy() -> Policy {
    let mut bypass =
        rule(5210, RuleAction::ToTable, 254, &[RuleAttribute::FwMark(0x80000), RuleAttribute::FwMask(0xff0000)]);
    bypass.header.flags = RuleFlags::empty();
    let mut source = rule(90, RuleAction::Blackhole, 0, &[RuleAttribute::Source([10, 9, 0, 0].into())]);
    source.header.src_len = 16;
    Policy {
        rules: vec![
            rule(32766, RuleAction::ToTable, 254, &[]),
            rule(5270, RuleAction::ToTable, 52, &[RuleAttribute::SuppressPrefixLen(u32::MAX)]),
            bypass,
            source,
            rule(100, RuleAction::ToTable, 51820, &[RuleAttribute::FwMark(0xca6c), RuleAttribute::FwMask(u32::MAX)]),
        ],
        routes: vec![
            route(254, [0; 4], 0, RouteType::Unicast, 2),
            route(52, [0; 4], 0, RouteType::Unicast, 3),
            route(52, [198, 51, 0, 0], 16, RouteType::Throw, 0),
            route(51820, [0; 4], 0, RouteType::Unreachable, 0),
        ],
        devices: [(2, "eth0"), (3, "wg0")]
            .map(|(ifindex, name)| Device { ifindex, name: name.into(), ..Device::default() })
            .into(),
    }
}

fn chosen(key: &RouteKey) -> RouteChoice {
    let Finding::Routing(choice) = policy().choice(key, RoutePurpose::Way) else { panic!("a choice") };
    choice
}

#[test]
fn the_mark_of_the_packet_decides_which_table_is_asked() {
    let to = IpAddr::from([203, 0, 113, 9]);
    let plain = chosen(&RouteKey::sent(None, to, 0));
    assert_eq!((plain.interface.as_deref(), plain.rule.as_str()), (Some("wg0"), "5270: from all lookup 52"));
    let bypass = chosen(&RouteKey::sent(None, to, 0x80001));
    assert_eq!(bypass.rule, "5210: from all fwmark 0x80000/0xff0000 lookup main");
    assert_eq!((bypass.interface.as_deref(), bypass.route.as_str()), (Some("eth0"), "default dev eth0"));
    let vpn = chosen(&RouteKey::sent(None, to, 0xca6c));
    assert_eq!((vpn.ends.as_deref(), vpn.route.as_str()), (Some("unreachable"), "unreachable default"));
    assert_eq!(
        vpn.text(),
        "rule \"100: from all fwmark 0xca6c lookup 51820\" leads to the route \"unreachable default\""
    );
}

#[test]
fn a_throw_route_goes_on_with_the_next_rule() {
    let choice = chosen(&RouteKey::sent(None, [198, 51, 100, 9].into(), 0));
    assert_eq!(choice.rule, "32766: from all lookup main");
}

#[test]
fn a_rule_by_source_can_end_packets_itself() {
    let choice = chosen(&RouteKey::sent(Some([10, 9, 1, 1].into()), [203, 0, 113, 9].into(), 0));
    assert_eq!((choice.ends.as_deref(), choice.rule.as_str()), (Some("blackhole"), "90: from 10.9.0.0/16 blackhole"));
}

#[test]
fn the_walk_and_the_kernel_agree_about_this_host() {
    let to = IpAddr::from([127, 0, 0, 1]);
    let key = RouteKey::sent(None, to, 0);
    let found = choices(&[(key, RoutePurpose::Way)]);
    let [Finding::Routing(choice)] = found.as_slice() else { panic!("one choice") };
    assert_eq!((choice.interface.as_deref(), choice.table.as_str()), (Some("lo"), "local"));
}
