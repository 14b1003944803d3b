//! The flags of this command that a suggested one must repeat, so that it sends the same packets.

use crate::host::command::quoted;

/// Flags with a value that say how to watch, not what to send.
const WITH_VALUE: [&str; 6] = ["--peer", "--responder", "--format", "--color", "--xdp", "--tc"];

/// The same without a value.
const ALONE: [&str; 8] = ["--walk", "--vary", "--trace-rules", "--no-controls", "--json", "-v", "--verbose", "--quiet"];

/// The flag that changes how the commands of `--via` are read, which are kept.
const WITH_VIA: &str = "--deploy";

/// Returns the words after `diagnose`, except for the target and for flags that say how to watch, each quoted for a
/// shell. Empty if `words` are those of another command.
pub(super) fn flags(words: impl IntoIterator<Item = String>, target: &str) -> Vec<String> {
    let mut words = words.into_iter().skip_while(|word| word != "diagnose").skip(1);
    let mut kept = Vec::new();
    let (mut met, mut deploys) = (false, false);
    while let Some(word) = words.next() {
        let name = word.split('=').next().unwrap_or(&word);
        if WITH_VALUE.contains(&name) {
            if !word.contains('=') {
                words.next();
            }
        } else if word == target && !met {
            met = true;
        } else if name == WITH_VIA {
            deploys = true;
        } else if !ALONE.contains(&name) && word != "--" {
            kept.push(quoted(&word));
        }
    }
    if deploys && kept.iter().any(|word: &String| word.trim_start_matches('\'').starts_with("--via")) {
        kept.push(WITH_VIA.to_owned());
    }
    kept
}

/// Returns the flags of `words` that reach the far end, which a suggested command needs to find out more there; each
/// word quoted for a shell.
pub(super) fn far_end(words: impl IntoIterator<Item = String>) -> Vec<String> {
    let words: Vec<String> = words.into_iter().skip_while(|word| word != "diagnose").skip(1).collect();
    let at = words.iter().rposition(|word| word == "--peer" || word.starts_with("--peer="));
    let Some(at) = at else { return Vec::new() };
    let command = if words[at] == "--peer" {
        words.get(at + 1).cloned()
    } else {
        words[at].split_once('=').map(|it| it.1.to_owned())
    };
    let Some(command) = command else { return Vec::new() };
    let via = words.iter().any(|word| word.split('=').next() == Some("--via"));
    // With --via it is kept anyway.
    let deploys = words.iter().any(|word| word == WITH_VIA) && !via;
    let reached = ["--peer".to_owned(), quoted(&command)].into_iter();
    reached.chain(deploys.then(|| WITH_VIA.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(line: &str) -> String {
        flags(line.split(' ').map(str::to_owned), "10.0.0.2").join(" ")
    }

    #[test]
    fn what_is_sent_stays_and_how_to_look_goes() {
        let line = "probe diagnose -S 10.0.0.1 10.0.0.2 --peer CMD --trace-rules -s 1400 --df --format=json -v";
        assert_eq!(kept(line), "-S 10.0.0.1 -s 1400 --df");
        assert_eq!(kept("probe -v diagnose 10.0.0.2 --responder xdp -I eth0"), "-I eth0");
    }

    #[test]
    fn hosts_in_between_are_watched_again_and_by_the_same_means() {
        assert_eq!(kept("probe diagnose 10.0.0.2 --via r1 --peer b --deploy --via=r2"), "--via r1 '--via=r2' --deploy");
        assert_eq!(kept("probe diagnose 10.0.0.2 --peer b --deploy"), "");
    }

    #[test]
    fn the_far_end_is_reached_again_by_the_same_command_and_namespaces_stay_hosts() {
        let far = |words: &[&str]| far_end(words.iter().map(|word| (*word).to_owned())).join(" ");
        assert_eq!(far(&["probe", "diagnose", "b", "--peer", "ssh b sudo"]), "--peer 'ssh b sudo'");
        assert_eq!(far(&["probe", "diagnose", "--peer=ssh b", "--deploy", "b"]), "--peer 'ssh b' --deploy");
        assert_eq!(far(&["probe", "diagnose", "--peer", "x", "--deploy", "b", "--via", "r"]), "--peer x");
        assert_eq!(far(&["probe", "diagnose", "b"]), "");
        assert_eq!(kept("probe diagnose 10.0.0.2 --own-namespace --vary=id --walk"), "--own-namespace");
    }

    #[test]
    fn words_of_another_command_are_none() {
        assert_eq!(kept("probe lab faults --summary"), "");
    }
}
