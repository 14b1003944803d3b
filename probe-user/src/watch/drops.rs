//! Reads drop events, and names what they report by number: reasons by the kernel's BTF, addresses by its symbols.

use probe_ebpf::{DropEvent, Kind, contract::kind::Echo};

use crate::{
    ebpf::drops::event_address,
    host::{reasons::Reasons, symbols::Symbols},
    model::trace::{Drop, FrameFacts, benign::NOT_GIVEN, frame::hardware_address, plain_function},
};

/// What the numbers of events mean.
#[derive(Clone, Copy, Debug)]
pub struct DropNames<'a> {
    /// Drop reasons.
    pub reasons: &'a Reasons,
    /// Functions, as they were after attaching.
    pub symbols: &'a Symbols,
}

impl DropNames<'_> {
    /// Returns `event` in words; `interface` is the name of its interface, if it has one.
    pub fn told(&self, event: &DropEvent, interface: Option<String>) -> Drop {
        let echo = Kind::ALL.get(usize::from(event.kind)).map_or(Echo::Request, |kind| kind.echo);
        Drop {
            time_ns: event.site.time_ns,
            probe: Some(event.probe),
            leg: echo,
            id: event.id,
            seq: event.seq,
            reason: self.reason(event.site.reason, event.site.location),
            function: self.symbols.function(event.site.location),
            stack: self.callers(event.site.location, &event.site.stack, event.site.frames),
            interface,
            source: event_address(event.source),
            destination: event_address(event.destination),
            frame: frame(event),
        }
    }

    /// Returns the name of a reason. Of a kernel that gives none, what the function alone proves: `nf_hook_slow` frees only what
    /// a rule dropped, and other kernels say so (`NETFILTER_DROP`).
    pub(super) fn reason(&self, reason: u32, location: u64) -> String {
        let name = self.reasons.name(reason);
        let by = || self.symbols.place(location).is_some_and(|place| plain_function(place.function) == "nf_hook_slow");
        if name == NOT_GIVEN && by() { "NETFILTER_DROP".to_owned() } else { name }
    }

    /// Returns the functions that called the one which freed the packet. The stack starts in the program that
    /// recorded it.
    pub(super) fn callers(&self, location: u64, stack: &[u64], frames: u32) -> Vec<String> {
        let frames = stack.get(..frames as usize).unwrap_or(stack);
        let freed = self.symbols.place(location).map(|place| place.function);
        let is_it = |address: u64| {
            address == location || freed.is_some() && self.symbols.place(address).map(|place| place.function) == freed
        };
        let callers = frames.iter().skip_while(|address| !is_it(**address)).skip_while(|address| is_it(**address));
        callers.map(|address| self.symbols.function(*address)).collect()
    }
}

fn frame(event: &DropEvent) -> FrameFacts {
    let known = event.mac != [0; 6];
    FrameFacts { mark: event.mark, destination: known.then(|| hardware_address(&event.mac)) }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use probe_ebpf::{EventSite, packet::mapped};

    use super::*;

    const SYMBOLS: &str = "\
1000 t bpf_prog_1\t[bpf]
2000 T sk_skb_reason_drop
3000 t nft_do_chain\t[nf_tables]
4000 T nf_hook_slow
5000 T ip_local_deliver
6000 T end
";

    fn event() -> DropEvent {
        let stack = [0x1001, 0x2002, 0x3010, 0x4020, 0x5030];
        let stack = std::array::from_fn(|frame| stack.get(frame).copied().unwrap_or(0));
        DropEvent {
            site: EventSite { location: 0x3010, reason: 9, frames: 5, stack, ..EventSite::zeroed() },
            probe: 4,
            kind: 1,
            id: 7,
            mark: 0xca6c,
            mac: [2, 0, 0, 0, 0, 9],
            source: mapped([10, 0, 0, 1]),
            destination: mapped([10, 0, 0, 2]),
            ..DropEvent::zeroed()
        }
    }

    fn told(event: &DropEvent) -> Drop {
        let (reasons, symbols) = (Reasons::default(), Symbols::parse(SYMBOLS.to_owned()));
        DropNames { reasons: &reasons, symbols: &symbols }.told(event, Some("eth0".to_owned()))
    }

    #[test]
    fn the_stack_starts_with_the_caller_of_what_freed_it() {
        let drop = told(&event());
        assert_eq!(drop.function, "nft_do_chain");
        assert_eq!(drop.stack, ["nf_hook_slow", "ip_local_deliver"]);
    }

    #[test]
    fn numbers_become_words() {
        let drop = told(&event());
        assert_eq!((drop.leg, drop.probe, drop.id), (Echo::Reply, Some(4), 7));
        assert_eq!((drop.source.to_string().as_str(), drop.destination.to_string().as_str()), ("10.0.0.1", "10.0.0.2"));
    }

    #[test]
    fn what_has_no_frame_has_no_address() {
        let frame = told(&event()).frame;
        assert_eq!((frame.mark, frame.destination.as_deref()), (0xca6c, Some("02:00:00:00:00:09")));
        let bare = told(&DropEvent { mac: [0; 6], mark: 0, ..event() });
        assert_eq!(bare.frame, FrameFacts::default());
    }

    #[test]
    fn a_stack_in_which_that_function_is_not_found_is_empty() {
        let at = |site: EventSite| told(&DropEvent { site, ..event() });
        let known = event().site;
        assert_eq!(at(EventSite { location: 0x5f00, frames: 2, ..known }).stack, [""; 0]);
        assert_eq!(at(EventSite { frames: 0, ..known }).stack, [""; 0]);
    }
}
