//! The flags of this very command that a further one must have too, so that it sends the same packets.

use crate::host::command::quoted;

/// Flags that say how to look, not what to send; those with a value of their own.
const WITH_VALUE: [&str; 6] = ["--peer", "--responder", "--format", "--color", "--xdp", "--tc"];

/// The same without a value.
const ALONE: [&str; 9] =
    ["--walk", "--vary", "--trace-rules", "--own-namespace", "--no-controls", "--json", "-v", "--verbose", "--quiet"];

/// How the commands of `--via` are meant, which stay.
const WITH_VIA: &str = "--deploy";

/// Returns what stands between `diagnose` and the end of `words`, but for the target and for flags that say how to look; each
/// word quoted for a shell. Empty where the words are those of another command.
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
    fn words_of_another_command_are_none() {
        assert_eq!(kept("probe lab faults --summary"), "");
    }
}
