//! The import rules: which module may use what, as a table.

mod reach;

use anyhow::{Context as _, Result, bail};

use super::{
    contents::{self, Used},
    graph::Graph,
    sources::{self, SourceFile, module},
};
use crate::shell::repo;

/// A rule about some modules.
struct Rule {
    /// The files that it covers: a path without `.rs` means the file and the folder of the same name.
    of: &'static [&'static str],
    /// Files that are exempt.
    except: &'static [&'static str],
    law: Law,
    why: &'static str,
}

/// What a rule forbids.
enum Law {
    /// No path may start with these (or, for `*::Name`, end with it).
    Never(&'static [&'static str]),
    /// Like `Never`, and not through other files of the crate that it imports from either.
    NeverAtAll(&'static [&'static str]),
    /// Only these may be imported from outside the crate.
    Only(&'static [&'static str]),
}

const AYA: [&str; 3] = ["aya", "aya_obj", "aya_log"];

const RULES: &[Rule] = &[
    Rule {
        of: &[
            "probe-user/src/harmless",
            "probe-user/src/model",
            "probe-user/src/observation",
            "probe-user/src/filter",
            "probe-user/src/middlebox/timeline",
            "probe-user/src/middlebox/datasheet",
            "probe-user/src/middlebox/experiment",
            "probe-user/src/diagnosis",
            "probe-user/src/report",
        ],
        except: &[],
        law: Law::NeverAtAll(&[
            "tokio",
            "nix",
            "clap",
            "std::process",
            "process::Command",
            "*::Instant",
            "*::SystemTime",
            "crate::ebpf",
            "crate::host",
            "crate::watch",
            "crate::traffic",
            "crate::peer",
            "crate::lab",
        ]),
        why: "it turns data into data, without clock, kernel or process",
    },
    Rule {
        of: &["probe-user/src"],
        except: &["probe-user/src/ebpf"],
        law: Law::Never(&AYA),
        why: "only ebpf knows aya",
    },
    Rule {
        of: &["probe-user/src/ebpf", "probe-user/src/host", "probe-user/src/watch"],
        except: &[],
        law: Law::Never(&["crate::diagnosis", "crate::report", "crate::peer"]),
        why: "data flows from the kernel to the report, never back",
    },
    Rule {
        of: &["probe-user/src/ebpf", "probe-user/src/host"],
        except: &[],
        law: Law::Never(&["crate::watch"]),
        why: "a watch is built on hops and host facts, not the other way round",
    },
    Rule {
        of: &["probe-user/src/host"],
        except: &[],
        law: Law::Never(&["crate::ebpf"]),
        why: "what a host reports about itself needs no program of probe's",
    },
    Rule {
        of: &["probe-user/src"],
        except: &["probe-user/src/cli", "probe-user/src/commands", "probe-user/src/main"],
        law: Law::Never(&["crate::cli"]),
        why: "parsed arguments are for the commands: what they mean has a plain module",
    },
    Rule {
        of: &["probe-user/src/traffic", "probe-user/src/peer", "probe-user/src/lab"],
        except: &[],
        law: Law::Never(&["crate::diagnosis", "crate::report"]),
        why: "what makes traffic does not judge it",
    },
    Rule {
        of: &["probe-user/src"],
        except: &["probe-user/src/commands", "probe-user/src/main"],
        law: Law::Never(&["crate::commands", "probe_user::commands"]),
        why: "only main starts a command",
    },
    Rule {
        of: &["probe-ebpf/src/lib", "probe-ebpf/src/contract", "probe-ebpf/src/packet"],
        except: &["probe-ebpf/src/packet/tests", "probe-ebpf/src/contract/json"],
        law: Law::Only(&["bytemuck", "core"]),
        why: "both halves build on it, so it is plain data",
    },
    Rule {
        of: &["probe-ebpf/src/contract/json"],
        except: &[],
        law: Law::Only(&["alloc", "core", "schemars", "serde"]),
        why: "it defines the JSON form of the contract, and nothing else",
    },
];

/// Checks all files of the workspace.
///
/// # Errors
/// Names each violation with its line, and what leads to it if that is another file.
pub(crate) fn check() -> Result<()> {
    let mut breaches = Vec::new();
    let sources = sources::all(repo())?;
    for source in &sources {
        breaches.append(&mut breaches_in(source)?);
    }
    breaches.append(&mut reach::breaches(&Graph::new(&sources)?, RULES));
    if !breaches.is_empty() {
        bail!("{}", breaches.join("\n  "));
    }
    Ok(())
}

fn breaches_in(source: &SourceFile) -> Result<Vec<String>> {
    let rules: Vec<&Rule> = RULES.iter().filter(|rule| rule.is_about(&source.path)).collect();
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let used = contents::read(&source.text, &module(&source.path)).with_context(|| source.path.clone())?.used;
    let breach = |(rule, used): (&Rule, &Used)| {
        let Used { path, line, .. } = used;
        format!("{}:{line}: uses {}, but {}", source.path, path.join("::"), rule.why)
    };
    let pairs = rules.iter().flat_map(|rule| used.iter().map(move |used| (*rule, used)));
    Ok(pairs.filter(|(rule, used)| rule.law.is_broken_by(used)).map(breach).collect())
}

impl Rule {
    fn is_about(&self, path: &str) -> bool {
        let holds = |names: &[&str]| names.iter().any(|name| covers(name, path));
        holds(self.of) && !holds(self.except)
    }
}

fn covers(name: &str, path: &str) -> bool {
    path.strip_prefix(name).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

impl Law {
    fn is_broken_by(&self, used: &Used) -> bool {
        match self {
            Self::Never(forbidden) | Self::NeverAtAll(forbidden) => {
                forbidden.iter().any(|pattern| matches(pattern, &used.path))
            }
            Self::Only(allowed) => {
                let Some(root) = used.path.first().map(String::as_str) else { return false };
                let outside = used.imported && !["crate", "self", "super"].contains(&root);
                let known = ["std", "alloc", "aya_ebpf", "aya_log_ebpf"].contains(&root) && used.path.len() > 1;
                // An import may also start at an enum or a module of the same file: those are not all lower case, or local.
                (outside || known) && !allowed.contains(&root) && !used.local
            }
        }
    }
}

fn matches(pattern: &str, path: &[String]) -> bool {
    if let Some(name) = pattern.strip_prefix("*::") {
        return path.iter().any(|segment| segment == name);
    }
    let segments = pattern.split("::").collect::<Vec<_>>();
    // A bare word may be a variable; a path or an import can't.
    path.len() >= segments.len() && segments.iter().zip(path).all(|(want, have)| want == have)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(path: &str, text: &str) -> usize {
        breaches_in(&SourceFile { path: path.to_owned(), text: text.to_owned() }).unwrap().len()
    }

    #[test]
    fn only_ebpf_uses_aya() {
        for text in ["use aya::Ebpf;", "fn a(_: &aya::Ebpf) {}", "use {aya as a, std::fs};", "fn a() { aya::x!() }"] {
            assert_eq!(breaches("probe-user/src/traffic/sender.rs", text), 1, "{text}");
            assert_eq!(breaches("probe-user/src/ebpf.rs", text), 0, "{text}");
            assert_eq!(breaches("probe-user/src/ebpf/hops/xdp.rs", text), 0, "{text}");
            assert_eq!(breaches("probe-user/tests/xdp.rs", text), 0, "{text}");
        }
        assert_eq!(breaches("probe-user/src/ebpfish.rs", "use aya::Ebpf;"), 1);
    }

    #[test]
    fn data_modules_have_no_clock_no_runtime_and_no_process() {
        let forbidden = [
            "use std::time::Instant;",
            "use std::{fs, time::{Duration, SystemTime}};",
            "fn a() { std::time::SystemTime::now(); }",
            "use std::process;",
            "use tokio::select;",
            "use nix::unistd::getpid;",
            "use crate::ebpf::object;",
        ];
        for text in forbidden {
            assert_eq!(breaches("probe-user/src/report/json.rs", text), 1, "{text}");
            assert_eq!(breaches("probe-user/src/commands/observe.rs", text), 0, "{text}");
        }
        assert_eq!(breaches("probe-user/src/report.rs", "use std::{fmt, time::Duration};"), 0);
    }

    #[test]
    fn data_flows_one_way_however_the_path_is_written() {
        for text in ["use crate::report::text;", "use crate::{snapshot, report};", "use super::report;"] {
            assert_eq!(breaches("probe-user/src/lab.rs", text), 1, "{text}");
            assert_eq!(breaches("probe-user/src/ebpf.rs", text), 1, "{text}");
        }
        assert_eq!(breaches("probe-user/src/lab/fault.rs", "use super::report;"), 0, "lab::report is another module");
        assert_eq!(breaches("probe-user/src/lab/fault.rs", "use super::super::report;"), 1);
        assert_eq!(breaches("probe-user/src/lab.rs", "mod inner { use super::report; }"), 0, "it is lab::report");
        assert_eq!(
            breaches("probe-user/src/lab.rs", "fn report() {} // crate::report\nconst A: &str = \"crate::report\";"),
            0
        );
    }

    #[test]
    fn only_main_starts_commands() {
        assert_eq!(breaches("probe-user/src/main.rs", "use probe_user::{commands, exit::Exit};"), 0);
        assert_eq!(breaches("probe-user/src/commands/lab.rs", "use crate::commands::terminal;"), 0);
        assert_eq!(breaches("probe-user/src/lib.rs", "pub mod commands;"), 0);
        assert_eq!(breaches("probe-user/src/cli.rs", "use crate::commands;"), 1);
    }

    #[test]
    fn the_contract_uses_bytemuck_and_core_only() {
        let path = "probe-ebpf/src/contract/hop.rs";
        let fine = [
            "use core::fmt; use bytemuck::Pod; use super::Kind; use crate::packet;",
            "enum A { B } use A::B; use self::A::*;",
            "mod inner {} pub use inner::thing;",
            "#[cfg(test)] mod tests { use std::vec::Vec; use proptest::prelude::*; }",
        ];
        for text in fine {
            assert_eq!(breaches(path, text), 0, "{text}");
        }
        for text in
            ["use std::fmt;", "use aya_ebpf::maps;", "fn a() { std::mem::size_of::<u8>(); }", "use serde::Serialize;"]
        {
            assert_eq!(breaches(path, text), 1, "{text}");
        }
        assert_eq!(breaches("probe-ebpf/src/kernel/maps.rs", "use aya_ebpf::maps;"), 0);
    }

    #[test]
    fn a_breach_is_reported_with_its_place() {
        let source =
            SourceFile { path: "probe-user/src/cli.rs".into(), text: "//! a\nuse std::fs;\nuse aya::Ebpf;\n".into() };
        let breaches = breaches_in(&source).unwrap();
        assert_eq!(breaches, ["probe-user/src/cli.rs:3: uses aya::Ebpf, but only ebpf knows aya"]);
    }
}
