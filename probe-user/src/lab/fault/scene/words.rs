//! The words in braces of a scene's texts, and what they stand for over an IP version and on a leg. Pure.

use probe_ebpf::{Echo, Family};

use super::{Scene, SceneHost};

/// Replaces each word in braces in `text` by what it stands for.
pub(super) fn fill(scene: &Scene, family: Family, leg: Echo, text: &str) -> String {
    // Words of the file first: what they stand for may hold other words.
    let own = scene.words.iter().map(|(word, [v4, v6])| (word.clone(), either(family, v4, v6)));
    let text = replaced(text.to_owned(), own);
    replaced(text, fixed(scene, family, leg).into_iter())
}

/// Returns the first word in braces of `text` that stands for nothing.
pub(super) fn unknown(scene: &Scene, family: Family, leg: Echo, text: &str) -> Option<String> {
    words_in(&fill(scene, family, leg, text)).next().map(str::to_owned)
}

fn replaced(text: String, words: impl Iterator<Item = (String, String)>) -> String {
    words.fold(text, |text, (word, meaning)| text.replace(&format!("{{{word}}}"), &meaning))
}

/// Finds what stands in braces without blanks; `${…}` belongs to the shell.
fn words_in(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('{').filter_map(|(at, _)| {
        let (word, _) = text[at + 1..].split_once('}')?;
        let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'{');
        (is_word && !text[..at].ends_with('$')).then_some(word)
    })
}

fn either(family: Family, v4: &str, v6: &str) -> String {
    if family == Family::V4 { v4 } else { v6 }.to_owned()
}

fn fixed(scene: &Scene, family: Family, leg: Echo) -> Vec<(String, String)> {
    let icmp = either(family, "icmp", "icmpv6");
    let (there, back) =
        if leg == Echo::Request { ("echo-request", "echo-reply") } else { ("echo-reply", "echo-request") };
    let (sender, receiver) =
        if leg == Echo::Request { (&scene.from, &scene.target) } else { (&scene.target, &scene.from) };
    let mut words: Vec<(String, String)> = [
        ("ip", either(family, "ip", "ip6")),
        ("ipv", either(family, "ipv4", "ipv6")),
        ("-4", either(family, "-4", "-6")),
        ("32", either(family, "32", "128")),
        ("24", either(family, "24", "64")),
        ("echo", format!("{icmp} type {there}")),
        ("back", format!("{icmp} type {back}")),
        ("type", there.to_owned()),
        ("icmp", icmp),
        ("leg", leg.name().to_owned()),
    ]
    .map(|(word, meaning)| (word.to_owned(), meaning))
    .into();
    for (word, host) in [("sender", sender), ("receiver", receiver)] {
        words.extend(scene.hosts.get(host).and_then(|host| first(host, family)).map(|text| (word.to_owned(), text)));
    }
    for (name, host) in &scene.hosts {
        words.extend(of_host(name, host, family, leg));
    }
    words
}

/// Returns `{r1}`, its first address; `{r1.eth0}`, that of a device; `{r1.in}` and `{r1.out}`, the devices by the leg.
fn of_host(name: &str, host: &SceneHost, family: Family, leg: Echo) -> Vec<(String, String)> {
    let mut words: Vec<(String, String)> =
        first(host, family).map(|address| (name.to_owned(), address)).into_iter().collect();
    for (device, address, _) in &host.addresses {
        let word = format!("{name}.{device}");
        if address.is_ipv4() == (family == Family::V4) && words.iter().all(|(known, _)| *known != word) {
            words.push((word, address.to_string()));
        }
    }
    if let Some([near, far]) = &host.way {
        let (inner, outer) = if leg == Echo::Request { (near, far) } else { (far, near) };
        words.push((format!("{name}.in"), inner.clone()));
        words.push((format!("{name}.out"), outer.clone()));
    }
    words
}

fn first(host: &SceneHost, family: Family) -> Option<String> {
    let of_family = |address: &std::net::IpAddr| address.is_ipv4() == (family == Family::V4);
    host.addresses.iter().map(|(_, address, _)| *address).find(of_family).map(|address| address.to_string())
}
